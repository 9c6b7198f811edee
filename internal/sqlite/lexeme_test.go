package sqlite_test

import (
	"slices"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func TestLexeme(t *testing.T) {
	for sql, want := range map[string][]string{
		"SELECT a1,'it''s' -- no\n;":    {"SELECT", " ", "a1", ",", "'it''s'", " ", "-- no\n", ";"},
		"x'00'/* * */1.5e-3+.5 0xFF?12": {"x'00'", "/* * */", "1.5e-3", "+", ".5", " ", "0xFF", "?12"},
		"\"a\"\"b\" `c` [d e] \t\n é":   {"\"a\"\"b\"", " ", "`c`", " ", "[d e]", " \t\n ", "é"},
		"'open":                         {"'open"},
		"/* open":                       {"/* open"},
		"-- open":                       {"-- open"},
		"a.b->>'$.c'":                   {"a", ".", "b", "-", ">", ">", "'$.c'"},
	} {
		var got []string
		for rest := sql; rest != ""; {
			n := sqlite.Lexeme(rest)
			got, rest = append(got, rest[:n]), rest[n:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q", sql, got)
		}
	}
}
