package sqlite_test

import (
	"fmt"
	"log"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func Example() {
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec("CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT)"); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"Ada", "Grace"} {
		if err := c.ExecArgs("INSERT INTO person(name) VALUES(?)", sqlite.Text(name)); err != nil {
			log.Fatal(err)
		}
	}
	st, err := c.Cached("SELECT id, name FROM person WHERE id >= ?1")
	if err != nil {
		log.Fatal(err)
	}
	defer st.Done()
	if err := st.BindInt64(1, 1); err != nil {
		log.Fatal(err)
	}
	for {
		row, err := st.Step()
		if err != nil {
			log.Fatal(err)
		}
		if !row {
			break
		}
		fmt.Println(st.ColumnInt64(0), st.ColumnText(1))
	}
	// Output:
	// 1 Ada
	// 2 Grace
}

func ExampleConn_PreUpdate() {
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	c.PreUpdate(func(p *sqlite.PreUpdate) {
		if p.Op == sqlite.Insert {
			v, err := p.New(0)
			fmt.Println(p.Table, p.NewRowID, v.Any(), err)
		}
	})
	if err := c.Exec("CREATE TABLE t(a); INSERT INTO t VALUES('x')"); err != nil {
		log.Fatal(err)
	}
	// Output: t 1 x <nil>
}
