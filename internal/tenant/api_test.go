package tenant

import (
	"errors"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	for _, s := range []string{"a", "0", "default", "agent-7", "a_b.c", "a..b", strings.Repeat("x", 64)} {
		if got, err := ParseName(s); err != nil || got != s {
			t.Errorf("ParseName(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", ".", "..", "-a", "_a", ".a", "A", "a/b", `a\b`, "a b", "a\x00", "é", "a%2f",
		"*", strings.Repeat("x", 65),
	} {
		if got, err := ParseName(s); !errors.Is(err, ErrBadName) {
			t.Errorf("ParseName(%q) = %q, %v; want ErrBadName", s, got, err)
		}
	}
}

func TestAccessHas(t *testing.T) {
	if !AccessFull.Has(AccessPull) || AccessPull.Has(AccessPush) || Access(0).Has(AccessPull) || !AccessPush.Has(0) {
		t.Error("Has disagrees with the bits")
	}
}
