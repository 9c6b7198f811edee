package tenant

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestShape(t *testing.T) {
	for sql, want := range map[string]string{
		"":              "",
		" SELECT  1\n;": "SELECT ?",
		"SELECT 'a''b', x'00ff', -1.5e-3, 0xFF, .5, NULL":          "SELECT ?,-?,NULL",
		"SELECT * FROM t WHERE a='x' AND b=7":                      "SELECT * FROM t WHERE a=? AND b=?",
		"SELECT /* 'secret' */ a -- secret\nFROM t":                "SELECT a FROM t",
		"INSERT INTO t VALUES (1, 'a'), (2, 'b') ,(3,'c')":         "INSERT INTO t VALUES(?)",
		"SELECT a FROM t WHERE b IN (?, ?2, ?)":                    "SELECT a FROM t WHERE b IN(?)",
		"SELECT :a, @b, $c, a1, \"my col\", \"col\", `x y`, [z 1]": "SELECT :a,@b,$c,a1,?,\"col\",`x y`,[z 1]",
		"SELECT 'not ended":                                        "SELECT ?",
		"SELECT /* not ended":                                      "SELECT",
		"SELECT x, 'é', é":                                         "SELECT x,?,é",
		"'":                                                        "?",
		"\"":                                                       "\"",
	} {
		if got := shape(sql); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
	if got := shape("SELECT '" + strings.Repeat("x", 1<<20)); got != "SELECT ?…" {
		t.Errorf("%q", got)
	}
	if got := shape(strings.Repeat("é", 10000)); len(got) > maxShape+3 || !utf8.ValidString(got) {
		t.Errorf("%d bytes, %q", len(got), got)
	}
}

// FuzzShape: whatever the text, its shape is short and sound text, its own shape,
// and has nothing of its literals.
func FuzzShape(f *testing.F) {
	for _, s := range []string{"SELECT 'a', 1e5, x'00'", "a.b(?,?)--", "\"a\"\"b\"/*", "1e+5 'a''b' .5.5", "[", "$1:a@#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		got := shape(sql)
		if len(got) > maxShape+3 || !utf8.ValidString(got) {
			t.Fatalf("%q: %q", sql, got)
		}
		if literal := "zq0literal"; !strings.Contains(sql, literal) && len(sql) < 200 {
			if got := shape("SELECT '" + strings.ReplaceAll(sql, "'", "''") + literal + "' FROM t"); got != "SELECT ? FROM t" {
				t.Fatalf("%q: %q", sql, got)
			}
		}
	})
}
