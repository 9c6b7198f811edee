package turso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// cleared returns a database's file, as it is and as a Clearer makes it.
func cleared(t *testing.T, m *Image, free bool) (before, after []byte) {
	t.Helper()
	for no := uint32(1); ; no++ {
		p, err := m.Page(no)
		if errors.Is(err, ErrCorrupt) {
			break
		}
		before = append(before, p...)
	}
	c, err := m.Clearer(uint32(len(before)/PageSize), free)
	if err != nil {
		t.Fatal(err)
	}
	after = bytes.Clone(before)
	for at := 0; at < len(after); at += PageSize {
		c.Clear(after[at:at+PageSize], uint32(at/PageSize)+1)
	}
	return before, after
}

// dropped leaves a table of secrets behind in the freelist, with several trunks.
const dropped = remains + `CREATE TABLE gone(x);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2500) INSERT INTO gone SELECT 'a secret '||hex(zeroblob(1800)) FROM n;
DROP TABLE gone;`

func TestClearer(t *testing.T) {
	secret := []byte("a secret ")
	for name, c := range map[string]struct {
		before     string
		free       bool
		some, gone bool // secrets are left; some are gone
		damaged    bool // the freelist is longer than page 1 says
	}{
		"for ever":           {"", true, false, true, false},
		"for pages to come":  {"", false, true, true, false},
		"auto_vacuum":        {"PRAGMA auto_vacuum=INCREMENTAL; VACUUM;", true, true, false, false},
		"a damaged freelist": {"", true, true, true, true},
	} {
		m := file(t, c.before+dropped)
		if c.damaged {
			one, err := m.Page(1)
			if err != nil {
				t.Fatal(err)
			}
			binary.BigEndian.PutUint32(one[offFreelist+4:], 3)
		}
		before, after := cleared(t, m, c.free)
		was, is := bytes.Count(before, secret), bytes.Count(after, secret)
		if was < 2500 || (is > 0) != c.some || (is < was) != c.gone {
			t.Errorf("%s: %d of %d secrets are left", name, is, was)
		}
		if c.damaged {
			continue
		}
		if got, want := content(t, after), content(t, before); got != want || got[:2] != "ok" {
			t.Errorf("%s: the database is\n%swas\n%s", name, got, want)
		}
	}
}
