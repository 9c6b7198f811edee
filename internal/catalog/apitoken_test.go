package catalog

import (
	"errors"
	"testing"
	"time"
)

// TestExpiredNameIsFree: the name of an API token can be used again when it has
// ended.
func TestExpiredNameIsFree(t *testing.T) {
	now := time.Now()
	s, err := OpenStore(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Bootstrap(t.Context(), DefaultOrg); err != nil {
		t.Fatal(err)
	}
	create := func() error {
		_, _, err := s.CreateAPIToken(t.Context(), APIToken{Name: "nightly", Username: DefaultUser, Expires: now.Add(time.Hour)})
		return err
	}
	if err := create(); err != nil {
		t.Fatal(err)
	}
	if err := create(); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
	now = now.Add(time.Hour)
	if err := create(); err != nil {
		t.Error(err)
	}
	if all, err := s.APITokens(DefaultUser, ""); err != nil || len(all) != 1 || !all[0].Expires.After(now) {
		t.Errorf("%+v, %v", all, err)
	}
}
