package platform_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
	"github.com/agentdb/agentdb/platform"
)

// client returns a client of a new server.
func client(t *testing.T) (*platform.Client, *agentdbtest.Server) {
	t.Helper()
	srv := agentdbtest.NewServer(t)
	return platform.NewClient(platform.Config{Token: srv.APIToken("test"), BaseURL: "http://" + srv.Host()}), srv
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// open opens a replica of a database with a token of its own.
func open(t *testing.T, api *platform.Client, d *platform.Database) *agentdb.DB {
	t.Helper()
	token := must[string](t)(api.Databases.CreateToken(t.Context(), d.Name, platform.TokenOptions{Expiration: time.Hour}))
	db := agentdbtest.Open(t, &agentdb.Options{URL: d.URL, AuthToken: token})
	sync(t, db)
	return db
}

func sync(t *testing.T, db *agentdb.DB) agentdb.Report {
	t.Helper()
	return must[agentdb.Report](t)(db.Sync(t.Context()))
}

func exec(t *testing.T, db *agentdb.DB, sql string) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// values returns the column v of the table t.
func values(t *testing.T, db *agentdb.DB) string {
	t.Helper()
	return fmt.Sprint(must[[]string](t)(agentdb.All[string](t.Context(), db, "SELECT v FROM t ORDER BY v")))
}

// TestLifeOfADatabase makes a database, forks it, takes it back, and deletes it.
func TestLifeOfADatabase(t *testing.T) {
	ctx := t.Context()
	api, _ := client(t)
	d := must[*platform.Database](t)(api.Databases.Create(ctx, "agent-1", platform.CreateOptions{
		SizeLimit: 1 << 30, TTL: 36 * time.Hour, IdleTimeout: 90 * time.Minute,
	}))
	if d.Name != "agent-1" || d.ID == "" || d.Group != "default" || d.SizeLimit != 1<<30 || d.IdleTimeout != 90*time.Minute {
		t.Fatalf("%+v", d)
	}
	if left := time.Until(d.ExpiresAt); left < 35*time.Hour || left > 36*time.Hour {
		t.Errorf("it expires in %v", left)
	}
	if _, err := api.Databases.Create(ctx, "agent-1", platform.CreateOptions{}); !errors.Is(err, platform.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	db := open(t, api, d)
	exec(t, db, "CREATE TABLE t (v)")
	exec(t, db, "INSERT INTO t VALUES ('one')")
	one := sync(t, db).Revision
	time.Sleep(20 * time.Millisecond)
	then := time.Now()
	time.Sleep(20 * time.Millisecond)
	exec(t, db, "INSERT INTO t VALUES ('two')")
	sync(t, db)
	for name, c := range map[string]struct {
		at   platform.Point
		want string
	}{
		"now":    {platform.Point{}, "[one two]"},
		"then":   {platform.AtTime(then), "[one]"},
		"number": {platform.AtRevision(one), "[one]"},
	} {
		f := must[*platform.Database](t)(api.Databases.Create(ctx, name, platform.CreateOptions{Fork: &platform.Fork{Name: "agent-1", At: c.at}}))
		if f.Parent == nil || f.Parent.ID != d.ID {
			t.Errorf("%s: parent %+v", name, f.Parent)
		}
		if got := values(t, open(t, api, f)); got != c.want {
			t.Errorf("the fork at %v has %s", c.at, got)
		}
		var file bytes.Buffer
		if n, err := api.Databases.Export(ctx, "agent-1", c.at, &file); err != nil || n != int64(file.Len()) || !strings.HasPrefix(file.String(), "SQLite format 3") {
			t.Errorf("export at %v: %d bytes, %v", c.at, n, err)
		}
	}
	undo := must[platform.Restored](t)(api.Databases.Restore(ctx, "agent-1", platform.AtRevision(one)))
	if d := must[*platform.Database](t)(api.Databases.Get(ctx, "agent-1")); undo.From != one || d.Revision != undo.Revision || d.OldestRevision != 0 {
		t.Errorf("restored %+v: %+v", undo, d)
	}
	if rep := sync(t, db); rep.Revision != undo.Revision || values(t, db) != "[one]" {
		t.Errorf("restored: %+v, %s", rep, values(t, db))
	}
	if _, err := api.Databases.Restore(ctx, "agent-1", platform.Point{}); err == nil {
		t.Error("restored to no point at all")
	}
	if u := must[platform.Usage](t)(api.Databases.Usage(ctx, "agent-1")); u.StorageBytes < 4096 {
		t.Errorf("%+v", u)
	}
	if err := api.Databases.Delete(ctx, "agent-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Databases.Get(ctx, "agent-1"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
}

// TestLoad makes databases of a file and of a dump; one that can't be loaded
// leaves nothing.
func TestLoad(t *testing.T) {
	ctx := t.Context()
	api, _ := client(t)
	local := agentdbtest.Open(t, nil)
	exec(t, local, "CREATE TABLE t (v)")
	exec(t, local, "INSERT INTO t VALUES ('kept')")
	path := filepath.Join(t.TempDir(), "copy.db")
	exec(t, local, "VACUUM INTO '"+path+"'")
	file := must[*os.File](t)(os.Open(path))
	defer file.Close()
	d := must[*platform.Database](t)(api.Databases.Create(ctx, "file", platform.CreateOptions{FromFile: file}))
	if got := values(t, open(t, api, d)); got != "[kept]" {
		t.Errorf("the file: %s", got)
	}
	for name, dump := range map[string]any{"sized": strings.NewReader("CREATE TABLE t(v); INSERT INTO t VALUES('x');"), "piped": "CREATE TABLE t(v); INSERT INTO t VALUES('x');"} {
		o := platform.CreateOptions{}
		if s, ok := dump.(string); ok { // of unknown length
			o.FromDump = struct{ *bytes.Buffer }{bytes.NewBufferString(s)}
		} else {
			o.FromDump = dump.(*strings.Reader)
		}
		d := must[*platform.Database](t)(api.Databases.Create(ctx, name, o))
		if got := values(t, open(t, api, d)); got != "[x]" {
			t.Errorf("dump %s: %s", name, got)
		}
	}
	var failed *platform.Error
	_, err := api.Databases.Create(ctx, "bad", platform.CreateOptions{FromFile: strings.NewReader(strings.Repeat("no database. ", 100))})
	if !errors.As(err, &failed) || failed.Status != 422 || failed.Message == "" {
		t.Errorf("no file: %v", err)
	}
	if _, err := api.Databases.Get(ctx, "bad"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("what is left: %v", err)
	}
	both := platform.CreateOptions{FromFile: file, Fork: &platform.Fork{Name: "file"}}
	if _, err := api.Databases.Create(ctx, "both", both); err == nil {
		t.Error("two beginnings were taken")
	}
}

// cancelling is a file without end, that somebody gives up on.
type cancelling struct {
	left int
	give func()
}

func (c *cancelling) Read(b []byte) (int, error) {
	if c.left--; c.left == 0 {
		c.give()
	}
	return len(b), nil
}

// TestGivenUp: an upload that is given up leaves nothing.
func TestGivenUp(t *testing.T) {
	api, _ := client(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := api.Databases.Create(ctx, "d", platform.CreateOptions{FromFile: &cancelling{100, cancel}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("created: %v", err)
	}
	if _, err := api.Databases.Get(t.Context(), "d"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("what is left: %v", err)
	}
}

// TestList pages through the databases, by group too, and may stop.
func TestList(t *testing.T) {
	ctx := t.Context()
	api, _ := client(t)
	g := must[*platform.Group](t)(api.Groups.Create(ctx, "some", platform.GroupOptions{}))
	for i := range 7 {
		must[*platform.Database](t)(api.Databases.Create(ctx, fmt.Sprint("d", i), platform.CreateOptions{Group: []string{"", g.Name}[i%2]}))
	}
	names := func(o platform.ListOptions, most int) (all []string) {
		for d, err := range api.Databases.List(ctx, o) {
			if err != nil {
				t.Fatal(err)
			}
			if all = append(all, d.Name); len(all) == most {
				break
			}
		}
		return all
	}
	for _, c := range []struct {
		o    platform.ListOptions
		most int
		want string
	}{
		{platform.ListOptions{}, 0, "[d0 d1 d2 d3 d4 d5 d6]"},
		{platform.ListOptions{PageSize: 3}, 0, "[d0 d1 d2 d3 d4 d5 d6]"},
		{platform.ListOptions{PageSize: 3}, 4, "[d0 d1 d2 d3]"},
		{platform.ListOptions{Group: "some", PageSize: 1}, 0, "[d1 d3 d5]"},
	} {
		if got := fmt.Sprint(names(c.o, c.most)); got != c.want {
			t.Errorf("%+v: %s", c.o, got)
		}
	}
	for _, err := range platform.NewClient(platform.Config{Token: "wrong", BaseURL: "http://127.0.0.1:1"}).Databases.List(ctx, platform.ListOptions{}) {
		if err == nil {
			t.Error("listed nothing without an error")
		}
	}
}

// TestListWhileTheyChange: pages have every database that is there all the time,
// once and in order, whatever comes and goes meanwhile.
func TestListWhileTheyChange(t *testing.T) {
	ctx := t.Context()
	api, _ := client(t)
	const stay = 60
	for i := range stay {
		must[*platform.Database](t)(api.Databases.Create(ctx, fmt.Sprintf("stay-%02d", i), platform.CreateOptions{}))
	}
	done := make(chan struct{})
	var wg gosync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("stay-%02d-%d", i%stay, w)
				_, err := api.Databases.Create(ctx, name, platform.CreateOptions{})
				if err == nil {
					err = api.Databases.Delete(ctx, name)
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 10 {
		last, n := "", 0
		for d, err := range api.Databases.List(ctx, platform.ListOptions{PageSize: 7}) {
			if err != nil {
				t.Fatal(err)
			}
			if d.Name <= last {
				t.Errorf("%s after %s", d.Name, last)
			}
			if last = d.Name; len(last) == len("stay-00") {
				n++
			}
		}
		if n != stay {
			t.Errorf("%d of %d", n, stay)
		}
	}
	close(done)
	wg.Wait()
}

// TestConfigure changes what is named and leaves the rest.
func TestConfigure(t *testing.T) {
	ctx := t.Context()
	api, _ := client(t)
	must[*platform.Database](t)(api.Databases.Create(ctx, "d", platform.CreateOptions{SizeLimit: 1 << 20, TTL: time.Hour}))
	c := must[platform.Configuration](t)(api.Databases.Configure(ctx, "d", platform.Change{DeleteProtection: new(true), IdleTimeout: new(time.Hour)}))
	if !c.DeleteProtection || c.SizeLimit != 1<<20 || c.IdleTimeout != time.Hour || c.ExpiresAt.IsZero() || c.BlockReads {
		t.Errorf("%+v", c)
	}
	if err := api.Databases.Delete(ctx, "d"); !errors.Is(err, platform.ErrForbidden) {
		t.Errorf("deleted: %v", err)
	}
	must[platform.Configuration](t)(api.Databases.Configure(ctx, "d", platform.Change{
		DeleteProtection: new(false), ExpiresAt: new(time.Time{}), IdleTimeout: new(time.Duration(0)), SizeLimit: new(int64(0)),
	}))
	if c := must[platform.Configuration](t)(api.Databases.Configuration(ctx, "d")); c != (platform.Configuration{}) {
		t.Errorf("%+v", c)
	}
}

// TestTokens: a token opens what it is for, until it is voided.
func TestTokens(t *testing.T) {
	ctx := t.Context()
	api, srv := client(t)
	d := must[*platform.Database](t)(api.Databases.Create(ctx, "d", platform.CreateOptions{}))
	must[*platform.Database](t)(api.Databases.Create(ctx, "other", platform.CreateOptions{}))
	full := must[string](t)(api.Databases.CreateToken(ctx, "d", platform.TokenOptions{}))
	push := must[string](t)(api.Databases.CreateToken(ctx, "d", platform.TokenOptions{Access: platform.AccessPush, Expiration: 90 * time.Second, Subject: "me"}))
	group := must[string](t)(api.Groups.CreateToken(ctx, "default", platform.TokenOptions{Access: platform.AccessRead}))
	try := func(url, token string, mode agentdb.SyncMode) bool {
		_, err := agentdbtest.Open(t, &agentdb.Options{URL: url, AuthToken: token, Sync: mode}).Sync(ctx)
		return err == nil
	}
	other := srv.URL("other")
	if !try(d.URL, full, agentdb.SyncFull) || try(other, full, agentdb.SyncFull) || !try(d.URL, push, agentdb.SyncPush) || try(d.URL, push, agentdb.SyncPull) || !try(other, group, agentdb.SyncPull) {
		t.Error("a token opens more or less than it should")
	}
	if err := api.Databases.RotateTokens(ctx, "d"); err != nil || try(d.URL, full, agentdb.SyncFull) {
		t.Errorf("rotated: %v", err)
	}
	if err := api.Groups.RotateTokens(ctx, "default"); err != nil || try(other, group, agentdb.SyncPull) {
		t.Errorf("rotated: %v", err)
	}
	_, secret, err := api.APITokens.Create(ctx, "second", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	second := platform.NewClient(platform.Config{Token: secret, Org: "default", BaseURL: "http://" + srv.Host() + "/v1"})
	if until := must[time.Time](t)(second.APITokens.Validate(ctx)); time.Until(until) > time.Hour || time.Until(until) < 50*time.Minute {
		t.Errorf("good until %v", until)
	}
	if third, _, err := second.APITokens.Create(ctx, "third", 0); err != nil || time.Until(third.ExpiresAt) > time.Hour {
		t.Errorf("made with a token of an hour: %+v, %v", third, err)
	}
	if until := must[time.Time](t)(api.APITokens.Validate(ctx)); !until.IsZero() {
		t.Errorf("good until %v", until)
	}
	if l := must[[]platform.APIToken](t)(second.APITokens.List(ctx)); len(l) != 3 {
		t.Errorf("%+v", l)
	}
	only, secret, err := api.APITokens.CreateFor(ctx, "default", "only", 0)
	if err != nil || only.Organization != "default" || secret == "" {
		t.Errorf("made %+v, %v", only, err)
	}
	if err := api.APITokens.Revoke(ctx, "second"); err != nil {
		t.Error(err)
	}
	if _, err := second.Databases.Get(ctx, "d"); !errors.Is(err, platform.ErrUnauthorized) {
		t.Errorf("revoked: %v", err)
	}
}

// TestOrganizations: members, invitations and the audit log.
func TestOrganizations(t *testing.T) {
	ctx := t.Context()
	api, srv := client(t)
	must[*platform.Organization](t)(api.Organizations.Create(ctx, "acme"))
	if l := must[[]platform.Organization](t)(api.Organizations.List(ctx)); len(l) != 2 || l[0].Slug != "acme" {
		t.Errorf("%+v", l)
	}
	acme := platform.NewClient(platform.Config{Token: srv.APIToken("acme"), Org: "acme", BaseURL: "http://" + srv.Host()})
	for _, err := range []error{
		acme.Organizations.AddMember(ctx, "bob", "viewer"),
		acme.Organizations.SetRole(ctx, "bob", "admin"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if l := must[[]platform.Member](t)(acme.Organizations.Members(ctx)); len(l) != 2 || l[1].Username != "bob" || l[1].Role != "admin" {
		t.Errorf("%+v", l)
	}
	if v := must[*platform.Invite](t)(acme.Organizations.Invite(ctx, "eve@example.com", "member")); v.Token == "" {
		t.Errorf("%+v", v)
	}
	if l := must[[]platform.Invite](t)(acme.Organizations.Invites(ctx)); len(l) != 1 || l[0].Email != "eve@example.com" {
		t.Errorf("%+v", l)
	}
	must[*platform.Group](t)(acme.Groups.Create(ctx, "g", platform.GroupOptions{Location: "ams"}))
	if g := must[*platform.Group](t)(acme.Groups.AddLocation(ctx, "g", "fra")); len(g.Locations) != 2 || g.Primary != "ams" {
		t.Errorf("%+v", g)
	}
	for _, err := range []error{
		acme.Organizations.DeleteInvite(ctx, "eve@example.com"),
		acme.Organizations.RemoveMember(ctx, "bob"),
		acme.Groups.RemoveLocation(ctx, "g", "fra"),
		acme.Groups.Protect(ctx, "g", true),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := acme.Groups.Delete(ctx, "g"); !errors.Is(err, platform.ErrForbidden) {
		t.Error(err)
	}
	if err := errors.Join(acme.Groups.Protect(ctx, "g", false), acme.Groups.Delete(ctx, "g")); err != nil {
		t.Error(err)
	}
	var codes []string
	for e, err := range acme.Organizations.AuditLog(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, e.Code)
	}
	if len(codes) < 9 || codes[0] != "group-delete" {
		t.Errorf("%v", codes)
	}
	must[platform.Usage](t)(acme.Organizations.Usage(ctx))
	if l := must[map[string]string](t)(acme.Locations.List(ctx)); len(l) == 0 {
		t.Error("no locations")
	}
	must[*platform.Organization](t)(acme.Organizations.SetOverages(ctx, "acme", true))
	if err := api.Organizations.Delete(ctx, "acme"); err != nil {
		t.Error(err)
	}
}
