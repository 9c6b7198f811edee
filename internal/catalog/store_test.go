package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func testStore(t *testing.T) *Store {
	t.Helper()
	s, err := OpenStore(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Bootstrap(t.Context(), DefaultOrg); err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCreate(t *testing.T, s *Store, name string) Database {
	t.Helper()
	d, err := s.CreateDatabase(t.Context(), Database{Name: name, Org: DefaultOrg, Group: DefaultGroup})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestStoreKeeps: what was written is there when the file is opened again.
func TestStoreKeeps(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStore(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Bootstrap(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	in := Database{
		Name: "a", Org: "acme", Group: DefaultGroup, Parent: "p", ForkedAt: 7, Expires: time.UnixMilli(5e12).UTC(), Idle: time.Hour,
		SizeLimit: 1 << 20, BlockReads: true, BlockWrites: true, AllowAttach: true, Protected: true, State: StateCreating,
	}
	made, err := s.CreateDatabase(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveDatabase(t.Context(), "a", ""); !errors.Is(err, ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
	if s, err = OpenStore(dir, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Bootstrap(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, storeFile)); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	got, err := s.Database("a")
	if err != nil || got != made {
		t.Errorf("%+v, %v, want %+v", got, err, made)
	}
	if r, err := s.Role("acme", DefaultUser); r != RoleOwner || err != nil {
		t.Errorf("the first user is %v, %v", r, err)
	}
	if r, err := s.Role("other", DefaultUser); r != RoleNone || err != nil {
		t.Errorf("a second organisation came into being: %v, %v", r, err)
	}
}

func TestStoreErrors(t *testing.T) {
	s := testStore(t)
	made := mustCreate(t, s, "a")
	for what, c := range map[string]struct {
		do   func() error
		want error
	}{
		"a taken name": {func() error {
			_, err := s.CreateDatabase(t.Context(), Database{Name: "a", Org: DefaultOrg, Group: DefaultGroup})
			return err
		}, ErrExists},
		"no such group": {func() error {
			_, err := s.CreateDatabase(t.Context(), Database{Name: "b", Org: DefaultOrg, Group: "x"})
			return err
		}, ErrNotFound},
		"a missing one":  {func() error { return s.RemoveDatabase(t.Context(), "b", "") }, ErrNotFound},
		"rotate missing": {func() error { return s.RotateDatabase(t.Context(), "b", "") }, ErrNotFound},
		"a group in use": {func() error { return s.DeleteGroup(t.Context(), DefaultOrg, DefaultGroup) }, ErrInUse},
		"the last org":   {func() error { return s.DeleteOrg(t.Context(), DefaultOrg) }, ErrInUse},
		"the last owner": {func() error { return s.RemoveMember(t.Context(), DefaultOrg, DefaultUser) }, ErrInUse},
		"demoted owner": {func() error {
			return s.PutMember(t.Context(), DefaultOrg, Member{Username: DefaultUser, Role: RoleViewer})
		}, ErrInUse},
		"unknown secret": {func() error { _, err := s.APIToken("adb_x"); return err }, ErrToken},
		"update's own": {func() error {
			_, err := s.UpdateDatabase(t.Context(), "a", made.ID, func(*Database) error { return ErrProtected })
			return err
		}, ErrProtected},
		"unknown org": {func() error { return s.PutMember(t.Context(), "x", Member{Username: "u", Role: RoleViewer}) }, ErrNotFound},
		"another of the name": {func() error {
			_, err := s.UpdateDatabase(t.Context(), "a", "id", func(*Database) error { return nil })
			return err
		}, ErrNotFound},
		"remove another of the name": {func() error { return s.RemoveDatabase(t.Context(), "a", "id") }, ErrNotFound},
		"rotate another of the name": {func() error { return s.RotateDatabase(t.Context(), "a", "id") }, ErrNotFound},
		"revoke missing":             {func() error { return s.RevokeAPIToken(t.Context(), DefaultUser, "", "x", nil) }, ErrNotFound},
		"a taken group": {func() error {
			_, err := s.CreateGroup(t.Context(), Group{Org: DefaultOrg, Name: DefaultGroup})
			return err
		}, ErrExists},
		"a taken org":     {func() error { _, err := s.CreateOrg(t.Context(), Org{Slug: DefaultOrg}, "u"); return err }, ErrExists},
		"missing invite":  {func() error { return s.DeleteInvite(t.Context(), DefaultOrg, "a@b") }, ErrNotFound},
		"missing members": {func() error { return s.RemoveMember(t.Context(), DefaultOrg, "x") }, ErrNotFound},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	if d, err := s.Database("a"); err != nil || d.Group != DefaultGroup {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestStoreBatches: writes that share a sync fail each for itself.
func TestStoreBatches(t *testing.T) {
	s := testStore(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, taken := 0, 0
	for i := range 400 {
		wg.Go(func() {
			_, err := s.CreateDatabase(t.Context(), Database{Name: fmt.Sprint("d", i%200), Org: DefaultOrg, Group: DefaultGroup})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
			case errors.Is(err, ErrExists):
				taken++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := s.Databases(Filter{Org: DefaultOrg, Limit: 1000})
	if made != 200 || taken != 200 || len(all) != 200 || err != nil {
		t.Errorf("%d made, %d refused, %d there, %v", made, taken, len(all), err)
	}
	epochs := map[int64]bool{}
	for _, d := range all {
		epochs[d.Epoch] = true
	}
	if len(epochs) != 200 {
		t.Errorf("%d epochs for 200 databases", len(epochs))
	}
}

// TestPolicyIsFresh: what a write has changed is what the next request sees.
func TestPolicyIsFresh(t *testing.T) {
	s := testStore(t)
	if p, err := s.Policy("a"); err != nil || p.Known {
		t.Fatalf("%+v, %v", p, err)
	}
	d := mustCreate(t, s, "a")
	g, err := s.Group(DefaultOrg, DefaultGroup)
	if err != nil {
		t.Fatal(err)
	}
	byDB := Claims{Database: "a", Epoch: d.Epoch, Access: AccessFull}
	byGroup := Claims{Org: DefaultOrg, Group: DefaultGroup, Epoch: g.Epoch, Access: AccessFull}
	byKey := Claims{Database: "a", Access: AccessFull, Issued: time.Now().Add(-time.Minute)}
	check := func(when string, wantDB, wantGroup, wantKey error) {
		t.Helper()
		p, err := s.Policy("a")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			claims Claims
			want   error
		}{{byDB, wantDB}, {byGroup, wantGroup}, {byKey, wantKey}} {
			if err := c.claims.For("a", p); !errors.Is(err, c.want) {
				t.Errorf("%s: %+v: %v, want %v", when, c.claims, err, c.want)
			}
		}
	}
	check("at first", nil, nil, nil)
	if err := s.RotateDatabase(t.Context(), "a", d.ID); err != nil {
		t.Fatal(err)
	}
	check("after its rotation", ErrVoid, nil, ErrVoid)
	if err := s.RotateGroup(t.Context(), DefaultOrg, DefaultGroup); err != nil {
		t.Fatal(err)
	}
	check("after the group's rotation", ErrVoid, ErrVoid, ErrVoid)
	if err := s.RemoveDatabase(t.Context(), "a", d.ID); err != nil {
		t.Fatal(err)
	}
	check("when it is gone", ErrVoid, ErrOther, nil)
	mustCreate(t, s, "a")
	check("made again", ErrVoid, ErrVoid, nil)
	p, _ := s.Policy("a")
	for _, other := range []Claims{{Database: "b", Epoch: p.Epoch}, {Org: DefaultOrg, Group: "x", Epoch: p.GroupEpoch}, {Org: "x", Group: DefaultGroup, Epoch: p.GroupEpoch}} {
		if err := other.For("a", p); !errors.Is(err, ErrOther) {
			t.Errorf("%+v opens it: %v", other, err)
		}
	}
}

func TestAPITokens(t *testing.T) {
	now := time.Now()
	s, err := OpenStore(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, secret, err := s.CreateAPIToken(t.Context(), APIToken{Name: "ci", Username: "u", Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateAPIToken(t.Context(), APIToken{Name: "ci", Username: "u"}); !errors.Is(err, ErrExists) {
		t.Errorf("a second of that name: %v", err)
	}
	if got, err := s.APIToken(secret); err != nil || got.Username != "u" {
		t.Errorf("%+v, %v", got, err)
	}
	now = now.Add(time.Hour)
	if _, err := s.APIToken(secret); !errors.Is(err, ErrExpired) {
		t.Errorf("after its time: %v", err)
	}
	if err := s.RevokeAPIToken(t.Context(), "u", "", "ci", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.APIToken(secret); !errors.Is(err, ErrToken) {
		t.Errorf("after its end: %v", err)
	}
}

func TestStoreOfTheFuture(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStore(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.update(t.Context(), func(t *tx) error { return t.Exec("PRAGMA user_version=99") }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := OpenStore(dir, nil); err == nil {
		t.Error("a file of a newer program was opened")
	}
}

func TestBlocked(t *testing.T) {
	for _, c := range []struct {
		has           Access
		reads, writes bool
		want          Access
	}{
		{AccessFull, false, false, AccessFull},
		{AccessFull, true, false, AccessPush},
		{AccessFull, false, true, AccessRead},
		{AccessFull, true, true, 0},
		{AccessRead, false, true, AccessRead},
		{AccessRead, true, false, 0},
		{AccessPull, false, true, AccessPull},
		{AccessPush, true, false, AccessPush},
		{AccessPush, false, true, 0},
	} {
		if got := c.has.Without(c.reads, c.writes); got != c.want {
			t.Errorf("%v without reads %v and writes %v is %v, want %v", c.has, c.reads, c.writes, got, c.want)
		}
	}
}

// TestAdoptMakesTheGroup: a database that a push has made has a place even if its
// group was deleted, or the server has another organisation now.
func TestAdoptMakesTheGroup(t *testing.T) {
	s := testStore(t)
	if err := s.DeleteGroup(t.Context(), DefaultOrg, DefaultGroup); err != nil {
		t.Fatal(err)
	}
	for _, org := range []string{DefaultOrg, "other"} {
		if err := s.AdoptDatabases(t.Context(), org, DefaultGroup, org+"-db"); err != nil {
			t.Fatal(err)
		}
		if d, err := s.Database(org + "-db"); err != nil || d.Org != org {
			t.Errorf("%+v, %v", d, err)
		}
		if r, err := s.Role(org, DefaultUser); err != nil || r != RoleOwner {
			t.Errorf("the first owner is %v of %s, %v", r, org, err)
		}
	}
}

// TestDeletedOrgKeepsItsLog: who takes the name of an organisation that was
// deleted does not see what was done there.
func TestDeletedOrgKeepsItsLog(t *testing.T) {
	s := testStore(t)
	if _, err := s.CreateOrg(t.Context(), Org{Slug: "acme"}, "eve"); err != nil {
		t.Fatal(err)
	}
	if err := s.Audit(t.Context(), AuditEntry{Org: "acme", Code: "db-create", Author: "eve"}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteOrg(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateOrg(t.Context(), Org{Slug: "acme"}, "mallory"); err != nil {
		t.Fatal(err)
	}
	for like, want := range map[string]int{"acme": 0, "acme#%": 1} {
		n := 0
		err := s.view(func(c *sqlite.Conn) error {
			return rows(c, "SELECT count(*) FROM audit WHERE org LIKE ?", func(st *sqlite.Stmt) { n = int(st.ColumnInt64(0)) }, like)
		})
		if err != nil || n != want {
			t.Errorf("%s has %d entries, want %d, %v", like, n, want, err)
		}
	}
}
