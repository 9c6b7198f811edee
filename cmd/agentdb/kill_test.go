package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/platform"
	"github.com/agentdb/agentdb/server"
)

// dumpRows is how many rows a loaded database has, and baseRows a forked one.
const (
	dumpRows = 300
	baseRows = 200
)

// fate is what is known of a database: how many rows it may have, and whether it
// may be absent.
type fate struct {
	rows   []int64
	absent bool
}

// keeper remembers what a worker was told.
type keeper struct {
	api   *platform.Client
	rng   *rand.Rand
	name  string
	n     int
	fates map[string]fate
}

// dump is a script that builds t with rows.
func dump(rows int) string {
	var b strings.Builder
	b.WriteString("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);\n")
	for i := range rows {
		fmt.Fprintf(&b, "INSERT INTO t(v) VALUES('row %d %s');\n", i, strings.Repeat("x", 200))
	}
	return b.String()
}

// step does something and notes what must be true from then on.
func (k *keeper) step(ctx context.Context) error {
	k.n++
	name := fmt.Sprintf("%s-%d", k.name, k.n)
	make := func(o platform.CreateOptions, rows int64) error {
		k.fates[name] = fate{rows: []int64{rows}, absent: true}
		_, err := k.api.Databases.Create(ctx, name, o)
		if err == nil {
			k.fates[name] = fate{rows: []int64{rows}}
		}
		return err
	}
	switch k.rng.IntN(6) {
	case 0:
		return make(platform.CreateOptions{}, -1)
	case 1:
		return make(platform.CreateOptions{FromDump: strings.NewReader(dump(dumpRows))}, dumpRows)
	case 2:
		return make(platform.CreateOptions{Fork: &platform.Fork{Name: "base"}}, baseRows)
	case 3:
		for old := range maps.Keys(k.fates) {
			was := k.fates[old]
			k.fates[old] = fate{rows: was.rows, absent: true}
			err := k.api.Databases.Delete(ctx, old)
			if err == nil {
				k.fates[old] = fate{absent: true}
			}
			return err
		}
	case 4:
		_, err := k.api.Organizations.Backup(ctx)
		return err
	default:
		for old, f := range k.fates {
			if len(f.rows) == 0 || f.absent || f.rows[0] < 0 {
				continue
			}
			k.fates[old] = fate{rows: append(f.rows, -1)}
			_, err := k.api.Databases.Restore(ctx, old, platform.AtRevision(0))
			if err == nil {
				k.fates[old] = fate{rows: []int64{-1}}
			}
			return err
		}
	}
	return nil
}

// TestKillPlatform kills the server while databases are made, forked, loaded,
// restored, backed up and deleted: afterwards each is whole or not there at all,
// what was answered holds, and the audit log tells how each came and went.
func TestKillPlatform(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no kill -9")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	api := platform.NewClient(platform.Config{BaseURL: "http://" + addr + "/v1/"})
	cmd := startServer(t, addr, data)
	if _, err := api.Databases.Create(t.Context(), "base", platform.CreateOptions{FromDump: strings.NewReader(dump(baseRows))}); err != nil {
		t.Fatal(err)
	}
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	keepers := make([]*keeper, 4)
	for i := range keepers {
		keepers[i] = &keeper{api: api, rng: rand.New(rand.NewPCG(seed, uint64(i+1))), name: fmt.Sprint("k", i), fates: map[string]fate{}}
	}
	for range rounds {
		var wg sync.WaitGroup
		for _, k := range keepers {
			wg.Go(func() {
				for k.step(t.Context()) == nil {
				}
			})
		}
		time.Sleep(time.Duration(20+rng.IntN(300)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		wg.Wait()
		cmd = startServer(t, addr, data)
		for _, k := range keepers {
			k.check(t)
		}
		checkAudit(t, api)
		checkBackups(t, filepath.Join(data, "backups"))
		if t.Failed() {
			return
		}
	}
}

// checkAudit compares the audit log with the databases that there are.
func checkAudit(t *testing.T, api *platform.Client) {
	t.Helper()
	logged := map[string]int{} // how often each was created and not deleted
	for e, err := range api.Organizations.AuditLog(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		var about struct{ Database string }
		if err := json.Unmarshal(e.Data, &about); err != nil {
			t.Fatal(err)
		}
		switch e.Code {
		case "db-create":
			logged[about.Database]++
		case "db-delete", "db-create-undone":
			logged[about.Database]--
		}
	}
	for d, err := range api.Databases.List(t.Context(), platform.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		logged[d.Name]--
	}
	for name, n := range logged {
		if n != 0 {
			t.Errorf("%s is %d times too often in the audit log", name, n)
		}
	}
}

// checkBackups checks the newest backup, and that none is left half-made.
func checkBackups(t *testing.T, dir string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for i, e := range all {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s was left", e.Name())
		} else if path := filepath.Join(dir, e.Name()); i == len(all)-1 {
			if _, err := server.CheckBackup(t.Context(), path, nil); err != nil {
				t.Error(err)
			}
		}
	}
}

func startServer(t *testing.T, addr, data string, more ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"serve", "--dev", "--listen", addr, "--data", data, "--log-level", "error"}, more...)
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), "AGENTDB_TEST_MAIN=1")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it is gone by then, if it was killed
	waitUp(t, addr)
	return cmd
}

// check compares what there is with what is known, and settles it.
func (k *keeper) check(t *testing.T) {
	t.Helper()
	there := map[string]bool{}
	for d, err := range k.api.Databases.List(t.Context(), platform.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		there[d.Name] = true
	}
	for name, f := range k.fates {
		file := filepath.Join(t.TempDir(), "export.db")
		rows, err := k.export(t, name, file)
		switch {
		case errors.Is(err, platform.ErrNotFound) && !there[name]:
			if !f.absent {
				t.Errorf("%s is lost; it had %v rows", name, f.rows)
			}
			delete(k.fates, name)
		case err != nil:
			t.Errorf("%s, listed %v: %v", name, there[name], err)
		default:
			ok := false
			for _, n := range f.rows {
				ok = ok || n == rows
			}
			if !ok {
				t.Errorf("%s has %d rows, want one of %v", name, rows, f.rows)
			}
			k.fates[name] = fate{rows: []int64{rows}}
		}
	}
}

// export counts the rows of a database: -1 if it is empty.
func (k *keeper) export(t *testing.T, name, file string) (rows int64, err error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	n, err := k.api.Databases.Export(t.Context(), name, platform.Point{}, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if n == 0 {
		return -1, nil
	}
	db, err := agentdb.Open(t.Context(), file, nil)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if how, err := agentdb.Get[string](t.Context(), db, "PRAGMA integrity_check"); err != nil || how != "ok" {
		return 0, errors.Join(err, errors.New(how))
	}
	tables, err := agentdb.Get[int64](t.Context(), db, "SELECT count(*) FROM sqlite_schema WHERE name = 't'")
	if err != nil || tables == 0 {
		return -1, err
	}
	return agentdb.Get[int64](t.Context(), db, "SELECT count(*) FROM t")
}
