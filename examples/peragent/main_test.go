package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestRun lets a few agents live.
func TestRun(t *testing.T) {
	t.Setenv("AGENTDB_API_URL", "")
	var out strings.Builder
	if err := run(t.Context(), &out, 20, 4); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		`provision .*s  20 databases, each with its own token`,
		`work and sync .*s  20 files, 3 steps each`,
		`stay apart .*doesn't open`,
		`fork .*has 3 steps`,
		`retire .*s  0 databases are left`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
