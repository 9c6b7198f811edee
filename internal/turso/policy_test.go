package turso_test

import (
	"testing"

	"github.com/agentdb/agentdb/internal/turso"
)

func TestPolicy(t *testing.T) {
	for _, c := range [][2]string{
		{"CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no'); END", "CREATE TEMP TRIGGER n  BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no'); END"},
		{"CREATE TRIGGER [a b]AFTER UPDATE OF \"begin\" ON t WHEN (SELECT 1)BEGIN/* ; */VALUES(raise ( rollback,'x;')) ;END", "CREATE TEMP TRIGGER n AFTER UPDATE OF \"begin\" ON t WHEN (SELECT 1)BEGIN/* ; */VALUES(raise ( ABORT,'x;')); END"},
		{
			"CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; SELECT CASE WHEN NEW.x THEN RAISE(FAIL, 'END;') END; INSERT INTO l VALUES(1); SELECT RAISE(IGNORE); END",
			"CREATE TEMP TRIGGER n  AFTER INSERT ON t BEGIN SELECT CASE WHEN NEW.x THEN RAISE( ABORT, 'END;') END; END",
		},
		{"CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO l VALUES(1); SELECT RAISE(IGNORE); END", ""},
		{"CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET v = 'RAISE(ABORT, 1)'; END", ""},
		{"CREATE TRIGGER r INSTEAD OF INSERT ON v BEGIN SELECT RAISE(ABORT, 'no'); END", ""},
		{"CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no'", ""},
		{"CREATE TABLE t(x)", ""},
		{"", ""},
	} {
		got, ok := turso.Policy(c[0], "n")
		if !ok {
			got = ""
		}
		if got != c[1] {
			t.Errorf("%s\n%s\nnot %s", c[0], got, c[1])
		}
	}
}
