package catalog

import (
	"errors"
	"testing"
	"time"
)

// TestSignedAfterRotation: a token of the operator's that is made right after the
// database's tokens were voided is good, one that was made right before isn't.
func TestSignedAfterRotation(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStore(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key, err := OpenKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := key.Verifier(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Bootstrap(t.Context(), DefaultOrg); err != nil {
		t.Fatal(err)
	}
	d, err := s.CreateDatabase(t.Context(), Database{ID: "1", Name: "a", Org: DefaultOrg, Group: DefaultGroup})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var tokens [2]Token
		for i := range tokens {
			if i == 1 {
				if err := s.RotateDatabase(t.Context(), "a", d.ID); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(3 * time.Millisecond) // the catalog tells milliseconds
			if tokens[i], err = key.Sign(Claims{Database: "a", Access: AccessFull}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Millisecond)
		}
		p, err := s.Policy("a")
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []error{ErrVoid, nil} {
			c, err := v.Verify(tokens[i])
			if err != nil {
				t.Fatal(err)
			}
			if err := c.For("a", p); !errors.Is(err, want) {
				t.Errorf("token %d: %v", i, err)
			}
		}
	}
}
