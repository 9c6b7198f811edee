package tenant_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// follower follows a database by frames, as embedded replicas of libSQL do.
type follower struct {
	m       *tenant.Manager
	file    []byte
	gen     uint32
	frame   int
	batch   int
	pending map[uint32][]byte
}

func follow(t *testing.T, m *tenant.Manager, batch int) *follower {
	t.Helper()
	f := &follower{m: m, batch: batch, pending: map[uint32][]byte{}}
	var err error
	if f.gen, err = m.Generation(t.Context(), "db", 0); err != nil {
		t.Fatal(err)
	}
	_, parts, err := m.Export(t.Context(), "db", f.gen)
	if err != nil {
		t.Fatal(err)
	}
	for b, err := range parts {
		if err != nil {
			t.Fatal(err)
		}
		f.file = append(f.file, b...)
	}
	return f
}

func (f *follower) sync(t *testing.T) {
	t.Helper()
	for {
		frames, err := f.m.Frames(t.Context(), "db", f.gen, f.frame+1, f.frame+1+f.batch)
		if errors.Is(err, tenant.ErrGenerationEnd) {
			now, err := f.m.Generation(t.Context(), "db", f.gen)
			if err != nil || len(f.pending) > 0 {
				t.Fatal(err, len(f.pending))
			}
			if now == f.gen {
				return
			}
			f.gen, f.frame = f.gen+1, 0
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for ; len(frames) > 0; frames = frames[4120:] {
			f.frame++
			f.pending[binary.BigEndian.Uint32(frames)] = frames[24:4120]
			size := int(binary.BigEndian.Uint32(frames[4:])) * 4096
			if size == 0 {
				continue
			}
			f.file = append(f.file, make([]byte, max(0, size-len(f.file)))...)[:size]
			for no, page := range f.pending {
				copy(f.file[(no-1)*4096:], page)
			}
			clear(f.pending)
		}
	}
}

// TestFollowersHaveNoMarks: whatever is done to a database, with its marks in
// between, a file that follows it is that which is exported.
func TestFollowersHaveNoMarks(t *testing.T) {
	for seed, vacuum := range []string{"NONE", "FULL", "INCREMENTAL"} {
		t.Run(vacuum, func(t *testing.T) { followAtRandom(t, vacuum, rand.New(rand.NewPCG(uint64(seed), 7))) })
	}
}

func followAtRandom(t *testing.T, vacuum string, rng *rand.Rand) {
	m := newManager(t, tenant.Config{})
	path := filepath.Join(t.TempDir(), "x.db")
	c, err := sqlite.Open(path, sqlite.Options{NoWAL: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Exec("PRAGMA auto_vacuum="+vacuum+"; CREATE TABLE t(id INTEGER PRIMARY KEY, x)"), c.Close(), m.Create(t.Context(), "db")); err != nil {
		t.Fatal(err)
	}
	if _, err := m.LoadFile(t.Context(), "db", path, "me"); err != nil {
		t.Fatal(err)
	}
	s := m.Session("db", tenant.SessionConfig{Write: true, Author: "me"})
	all := []*follower{follow(t, m, 7), follow(t, m, 60), follow(t, m, 128)}
	steps := 280 // more than a generation has
	if raceEnabled {
		steps = 30
	}
	for i := range steps {
		var sql string
		switch n := rng.IntN(100); {
		case n < 25:
			if err := s.Push(t.Context(), &tenant.TursoPush{Marked: true, Client: fmt.Sprintf("a-secret-client-%060d", rng.IntN(150)), ChangeID: uint64(i)}); err != nil {
				t.Fatal(err)
			}
		case n < 45:
			sql = fmt.Sprintf("INSERT INTO t(x) VALUES(zeroblob(%d))", rng.IntN(30_000))
		case n < 60:
			sql = "INSERT INTO t(x) SELECT random() FROM t LIMIT 100"
		case n < 70:
			sql = fmt.Sprintf("DELETE FROM t WHERE id %% %d = 1", 2+rng.IntN(5))
		case n < 80:
			sql = fmt.Sprintf("UPDATE t SET x = %d WHERE id %% 9 = 1", i)
		case n < 90:
			sql = fmt.Sprintf("CREATE TABLE t%d(a, b UNIQUE, c DEFAULT '%0300d')", i, i)
		case n < 94:
			sql = "ANALYZE"
		case n < 97:
			sql = "DELETE FROM t"
		default:
			f, err := m.Facts(t.Context(), "db")
			if err == nil {
				_, err = m.Restore(t.Context(), "db", 1+rng.Uint64N(f.Revision), "me")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Script(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == steps-1 || rng.IntN(40) == 0 {
			compareFollowers(t, m, all)
			all[rng.IntN(3)] = follow(t, m, 5+rng.IntN(200))
		}
	}
}

// compareFollowers lets some of them sync, and compares them with an export, in
// which pages that hold nothing are zero.
func compareFollowers(t *testing.T, m *tenant.Manager, all []*follower) {
	t.Helper()
	want := bytesOf(t, m, "db")
	copy(want[18:], []byte{2, 2})
	for i, f := range all {
		f.sync(t)
		got := append(bytes.Clone(f.file), make([]byte, max(0, len(want)-len(f.file)))...)
		for at, none := 0, make([]byte, 4096); at < len(want); at += 4096 {
			if bytes.Equal(want[at:at+4096], none) {
				clear(got[at : at+4096])
			}
		}
		if len(f.file) != len(want) || !bytes.Equal(got, want) {
			t.Fatalf("follower %d has %d bytes, not the %d of the export, or others", i, len(f.file), len(want))
		}
	}
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ok, err := c.QueryText("PRAGMA integrity_check"); ok != "ok" || err != nil {
		t.Fatal(ok, err)
	}
	if n, err := c.QueryInt("SELECT count(*) FROM sqlite_schema WHERE name || tbl_name || coalesce(sql, '') LIKE '%turso%'"); n != 0 || err != nil {
		t.Fatal("there are marks", err)
	}
}
