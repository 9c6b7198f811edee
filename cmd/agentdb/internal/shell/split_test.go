package shell

import "testing"

func TestEndOfStatement(t *testing.T) {
	for _, c := range []struct{ first, rest string }{
		{"SELECT 1;", " SELECT 2;"},
		{";", ""},
		{"SELECT ';', \";\", `;`, [;];", "x"},
		{"SELECT 'it''s; fine';", "\n"},
		{"SELECT 1 -- not; here\n;", ""},
		{"SELECT 1 /* nor; here */;", ""},
		{"CREATE TABLE t(a);", " INSERT INTO t VALUES(1);"},
		{"CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; SELECT CASE WHEN 1 THEN 2 END; END;", " SELECT 3;"},
		{"create temp trigger r after insert on t begin delete from t; end;", ""},
		{"EXPLAIN QUERY PLAN CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END;", ""},
		{"/* c */ CREATE -- d\n TRIGGER r AFTER INSERT ON t BEGIN SELECT 'END;'; END;", ""},
		{"SELECT 'ü;', trigger_x;", ""},
	} {
		if n := endOfStatement(c.first + c.rest); n != len(c.first) {
			t.Errorf("%q ends at %d, want %d", c.first+c.rest, n, len(c.first))
		}
		for cut := range c.first {
			if n := endOfStatement(c.first[:cut]); n >= 0 && c.first[:cut] != "" && n != len(c.first) {
				// A shorter end is fine only if a statement really ends there.
				if c.first[n-1] != ';' {
					t.Errorf("%q ends at %d", c.first[:cut], n)
				}
			}
		}
	}
	for _, s := range []string{"", "SELECT 1", "SELECT ';", "SELECT /* ;", "SELECT 1 -- ;", "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1;"} {
		if n := endOfStatement(s); n != -1 {
			t.Errorf("%q ends at %d", s, n)
		}
	}
}

func TestBlankAndWords(t *testing.T) {
	for s, want := range map[string]bool{"": true, " \n": true, "; ;": true, "-- x": true, "/* x */;": true, "/* x": false, "x": false, "'": false} {
		if got := blank(s); got != want {
			t.Errorf("blank(%q) = %v", s, got)
		}
	}
	if w := words("/* a */ insert -- b\n into t", 2); len(w) != 2 || w[0] != "INSERT" || w[1] != "INTO" {
		t.Errorf("%q", w)
	}
	if hasWord("SELECT 'RETURNING'", "RETURNING") || !hasWord("DELETE FROM t returning a", "RETURNING") {
		t.Error("hasWord")
	}
}

// TestOneLine keeps what a literal holds: the history is there to run it again.
func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"INSERT INTO t\n  VALUES (5),\r\n\t(6);":       "INSERT INTO t VALUES (5), (6);",
		"INSERT INTO t VALUES ('a  b');":               "INSERT INTO t VALUES ('a  b');",
		"SELECT 'it''s  it',\n \"my  column\" FROM t;": "SELECT 'it''s  it', \"my  column\" FROM t;",
		"SELECT 'a--b';":                               "SELECT 'a--b';",
		"SELECT 1 /* a   note */;":                     "SELECT 1 /* a   note */;",
		".mode  csv":                                   ".mode csv",
		"SELECT 'a\nb';":                               "",
		"SELECT 1 -- one\n, 2;":                        "",
		"SELECT 'open":                                 "",
	} {
		if got, ok := oneLine(in); got != want || ok != (want != "") {
			t.Errorf("%q is remembered as %q, %v", in, got, ok)
		}
	}
}

func FuzzEndOfStatement(f *testing.F) {
	f.Add("CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 'x;'; END; SELECT 1")
	f.Fuzz(func(t *testing.T, s string) {
		if n := endOfStatement(s); n == 0 || n > len(s) || n > 0 && s[n-1] != ';' {
			t.Errorf("%q ends at %d", s, n)
		}
	})
}
