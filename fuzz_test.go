package agentdb

import (
	"strings"
	"testing"
)

// FuzzClassify checks that no text breaks the reading of a statement's first words, and that what stands before them changes nothing.
func FuzzClassify(f *testing.F) {
	for _, text := range []string{"", "ROLLBACK TO [a", "SAVEPOINT 'a''b", "/*", "--", ";;BEGIN", "RELEASE SAVEPOINT", "\ufeffCOMMIT"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, name := classify(text)
		if len(name) > len(text) {
			t.Errorf("%q: the name %q is longer", text, name)
		}
		if strings.HasPrefix(text, "*/") {
			return
		}
		if v2, name2 := classify(" -- c\n;/* d */" + text); v2 != v || name2 != name {
			t.Errorf("%q: %d %q, with a comment before it %d %q", text, v, name, v2, name2)
		}
	})
}

// FuzzTime checks that every time that is read can be stored and is the same then.
func FuzzTime(f *testing.F) {
	for _, text := range []string{"2026-01-02", "2026-01-02 03:04:05.5+01:00", "2026-01-02T03:04Z", "0000-01-01", "9999-12-31 23:59:59", "2026-01-02 03:04:05 +0100 CET m=+1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, ok := parseTime(text)
		if !ok || at.Year() < 0 || at.Year() > 9999 {
			return
		}
		stored, err := formatTime(at)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if back, ok := parseTime(stored); !ok || !back.Equal(at) {
			t.Errorf("%q is %v, stored as %q, read as %v", text, at, stored, back)
		}
	})
}
