package tenant_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/tenant"
)

// top is the statements of a database with their runs, rows read and written.
func top(m *tenant.Manager, name string) string {
	var b strings.Builder
	for _, s := range m.TopStatements(name, 5) {
		fmt.Fprintf(&b, "%s %d %d %d\n", s.SQL, s.Runs, s.RowsRead, s.RowsWritten)
	}
	return b.String()
}

// TestTopStatements: statements are counted by what they are but for their
// values, those that touch most rows first, in transactions and beside a writer,
// too. A deleted database leaves nothing to the next of its name.
func TestTopStatements(t *testing.T) {
	m := newManager(t, tenant.Config{})
	session := func() *tenant.Session {
		return m.Session("a", tenant.SessionConfig{Write: true, Create: true, Author: "test"})
	}
	s := session()
	must(t, s, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	for i := range 30 {
		must(t, s, fmt.Sprintf("INSERT INTO t(v) VALUES ('secret%d'), (%d)", i, i))
	}
	must(t, s, "SELECT count(v) FROM t  WHERE v > 'secret' -- mine", "SELECT count(v) FROM t WHERE v > 'other'")
	must(t, s, "BEGIN", "UPDATE t SET v = 7 WHERE id = 1", "COMMIT")
	must(t, s, "BEGIN", "SELECT 1 FROM t", "COMMIT")
	want := "SELECT count(v) FROM t WHERE v > ? 2 120 0\n" +
		"INSERT INTO t(v) VALUES(?) 30 0 60\n" +
		"SELECT ? FROM t 1 60 0\n" +
		"UPDATE t SET v = ? WHERE id = ? 1 0 1\n"
	if got := top(m, "a"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := top(m, "b"); got != "" {
		t.Errorf("of a database that nobody used: %s", got)
	}
	if err := m.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := top(m, "a"); got != "" {
		t.Errorf("of a deleted database: %s", got)
	}
	must(t, session(), "CREATE TABLE u(v)", "INSERT INTO u VALUES (1)")
	if got := top(m, "a"); strings.Contains(got, " t") || !strings.Contains(got, "INSERT INTO u VALUES(?)") {
		t.Errorf("of the next: %s", got)
	}
}

// TestTopStatementsAreBounded: those with most rows stay, however many others
// there are.
func TestTopStatementsAreBounded(t *testing.T) {
	m := newManager(t, tenant.Config{})
	s := m.Session("a", tenant.SessionConfig{Write: true, Create: true, Author: "test"})
	must(t, s, "CREATE TABLE t(v)", "INSERT INTO t VALUES (1), (2), (3), (4), (5)")
	for i := range 100 {
		must(t, s, "SELECT v FROM t", fmt.Sprintf("SELECT v AS v%d FROM t LIMIT 1", i))
	}
	if all := m.TopStatements("a", 1000); len(all) != 40 || all[0].SQL != "SELECT v FROM t" || all[0].Runs != 100 || all[0].RowsRead != 500 {
		t.Errorf("%d, %+v", len(all), all[0])
	}
	for i := range 520 {
		must(t, m.Session(fmt.Sprint("other", i), tenant.SessionConfig{Write: true, Create: true, Author: "test"}), "CREATE TABLE t(v)", "INSERT INTO t VALUES (1)")
	}
	kept := 0
	for i := range 520 {
		kept += len(m.TopStatements(fmt.Sprint("other", i), 1))
	}
	if kept != 512 || len(m.TopStatements("a", 1)) != 0 {
		t.Errorf("of %d databases", kept)
	}
}
