package sqlite_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// FuzzRoundTrip binds what the fuzzer makes up and wants it back bit for bit:
// from the parameter, from a table, from the pre-update hook and from a Go
// function. The same statements serve all inputs, so that stale buffers show.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(0), int64(0), []byte(nil))
	f.Add(uint8(1), int64(math.MinInt64), []byte("x"))
	f.Add(uint8(2), int64(math.Float64bits(math.Inf(-1))), []byte{})
	f.Add(uint8(2), int64(math.Float64bits(math.NaN())), []byte{})
	f.Add(uint8(3), int64(7), []byte("a\x00b\xff"))
	f.Add(uint8(4), int64(4096), []byte{0, 0, 0})
	c := newConn(f, "CREATE TABLE t(v BLOB)")
	var hooked sqlite.Value
	c.PreUpdate(func(p *sqlite.PreUpdate) {
		if p.Op == sqlite.Insert {
			hooked, _ = p.New(0)
		}
	})
	must(f, c.CreateFunction("echo", 1, false, func(a []sqlite.Value) (sqlite.Value, error) { return a[0], nil }))
	f.Fuzz(func(t *testing.T, kind uint8, n int64, b []byte) {
		v := fuzzValue(kind, n, b)
		want := v
		if v.Kind == sqlite.KindFloat && math.IsNaN(v.Float()) {
			want = sqlite.Null()
		}
		checkValue(t, c, "SELECT ?1", want, v)
		checkValue(t, c, "SELECT echo(?1)", want, v)
		must(t, c.ExecArgs("DELETE FROM t"))
		must(t, c.ExecArgs("INSERT INTO t VALUES(?)", v))
		checkValue(t, c, "SELECT v FROM t", want)
		if !hooked.Equal(want) {
			t.Errorf("hook saw %v %q", hooked.Kind, hooked.Any())
		}
	})
}

// fuzzValue makes a value. Some texts and blobs are blown up past the sizes at
// which the layer changes how it binds.
func fuzzValue(kind uint8, n int64, b []byte) sqlite.Value {
	if len(b) > 0 && kind >= 128 {
		b = bytes.Repeat(b, int(uint64(n)%(8192/uint64(len(b))+1)))
	}
	switch kind % 5 {
	case 1:
		return sqlite.Int(n)
	case 2:
		return sqlite.Real(math.Float64frombits(uint64(n)))
	case 3:
		return sqlite.TextBytes(b)
	case 4:
		return sqlite.Blob(b)
	}
	return sqlite.Null()
}

// FuzzCalls makes calls in any order, also on closed connections and dead
// statements: each has to answer, none may crash.
func FuzzCalls(f *testing.F) {
	f.Add([]byte("\x00\x05\x06\x07\x08\x09"))
	f.Add([]byte("\x01\x02\x03\x04\x05\x0a\x0b\x0c\x0d\x0e\x0f"))
	f.Add([]byte("\x02\x12\x22\x05\x15\x0d\x05\x06\x0e\x05\x08"))
	f.Fuzz(func(t *testing.T, calls []byte) {
		c, err := sqlite.Open(":memory:", sqlite.Options{})
		must(t, err)
		defer c.Close()
		must(t, c.Exec("CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 'one'),(2, 'two')"))
		w := caller{c: c}
		c.PreUpdate(w.hook)
		must(t, c.CreateFunction("again", 1, false, w.again))
		for _, b := range calls[:min(len(calls), 64)] {
			w.call(b)
		}
	})
}

// caller turns bytes into calls: the low four bits choose the call, the others
// what it works on.
type caller struct {
	c     *sqlite.Conn
	stmts [4]*sqlite.Stmt
	deep  int
}

func (w *caller) hook(p *sqlite.PreUpdate) {
	for i := -1; i <= p.Columns(); i++ {
		_, _ = p.Old(i)
		_, _ = p.New(i)
	}
	w.call(byte(p.NewRowID*37 + int64(p.Depth())))
}

// again is called from SQL and calls back into whatever there is.
func (w *caller) again(args []sqlite.Value) (sqlite.Value, error) {
	if w.deep++; w.deep > 3 {
		return sqlite.Null(), nil
	}
	defer func() { w.deep-- }()
	w.call(byte(args[0].I))
	w.call(byte(args[0].I >> 8))
	return args[0], nil
}

func (w *caller) call(b byte) {
	sqls := [...]string{
		"SELECT * FROM t", "SELECT ?1, again(?2)", "INSERT INTO t VALUES(?1, again(1285))", "DELETE FROM t RETURNING a, again(3341)",
		"UPDATE t SET b = ?1", "BEGIN", "COMMIT", "ROLLBACK", "ALTER TABLE t ADD COLUMN c", "SELECT again(a + 12) FROM t",
		"DROP TABLE t", "CREATE TABLE t(a, b)", "SELECT", "", "INSERT INTO t SELECT a, again(9) FROM t", "SAVEPOINT s",
	}
	n := int(b >> 4)
	s := w.stmts[n%4]
	op := b & 15
	if s == nil && op >= 4 && op < 12 {
		return
	}
	switch op {
	case 0:
		w.stmts[n%4], _, _ = w.c.Prepare(sqls[n])
	case 1, 2:
		w.stmts[n%4], _ = w.c.Cached(sqls[n])
	case 3:
		_ = w.c.ExecArgs(sqls[n])
	case 4, 5:
		_, _ = s.Step()
	case 6:
		_ = s.Reset()
	case 7:
		_ = s.BindText(n%3, "text")
	case 8:
		_ = s.Bind(n%3, sqlite.Blob(make([]byte, n*400)))
	case 9:
		for i := range s.ColumnCount() + 1 {
			_, _, _ = s.Column(i), s.ColumnText(i), s.ColumnName(i)
		}
		_ = s.Bound()
	case 10:
		s.Done()
	case 11:
		s.Finalize()
	case 12:
		w.c.Interrupt()
	case 13:
		_ = w.c.Exec(sqls[n])
	case 14:
		_, _ = w.c.QueryText(sqls[n])
	case 15:
		if n == 15 {
			_ = w.c.Close()
		}
	}
}
