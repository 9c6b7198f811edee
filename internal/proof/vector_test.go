package proof

import (
	"fmt"
	"testing"
)

// TestVectors keeps a vector table by triggers, as full text tables are kept.
func TestVectors(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec("CREATE TABLE docs (id INTEGER PRIMARY KEY, e TEXT)")
	if _, err := as[0].Exec(bg(t), "CREATE VIRTUAL TABLE v USING vec0(id INTEGER PRIMARY KEY, e float[3])"); err != nil {
		t.Fatal(err)
	}
	as[0].exec("CREATE TRIGGER docs_ai AFTER INSERT ON docs BEGIN INSERT INTO v (id, e) VALUES (NEW.id, NEW.e); END")
	as[0].exec("CREATE TRIGGER docs_ad AFTER DELETE ON docs BEGIN DELETE FROM v WHERE id = OLD.id; END")
	settle(as...)
	for i, a := range as {
		for j := range 10 {
			a.exec("INSERT INTO docs (e) VALUES (?)", fmt.Sprintf("[%d, %d, 0.5]", i, j))
		}
		a.exec("DELETE FROM docs WHERE id = 3")
	}
	settle(as...)
	nearest := "SELECT group_concat(d.e, ';') FROM (SELECT id, distance FROM v WHERE e MATCH '[0.9, 4.2, 0]' AND k = 5 ORDER BY distance) n JOIN docs d USING (id)"
	want(t, "nearest", get[string](t, as[0].DB, nearest), get[string](t, as[1].DB, nearest))
	want(t, "vectors", get[int](t, as[1].DB, "SELECT count(*) FROM v"), get[int](t, as[1].DB, "SELECT count(*) FROM docs"))
	want(t, "documents", get[int](t, as[1].DB, "SELECT count(*) FROM docs"), 18)
}
