package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// office is our server, and requests to its Platform API and its databases.
type office struct {
	*ourProduct
	dir string
	api string // token
}

func newOffice(ctx context.Context, s *settings) (*office, error) {
	o := &office{ourProduct: &ourProduct{s: s, database: "*"}, dir: filepath.Join(s.tmp, "platform")}
	if err := o.start(ctx, o.dir); err != nil {
		return nil, err
	}
	bin, err := agentdbBinary(ctx, s)
	if err == nil {
		var out []byte
		out, err = exec.CommandContext(ctx, bin, "token", "api", "bench", "--data", filepath.Join(o.dir, "data")).Output()
		o.api = strings.TrimSpace(string(out))
	}
	if err != nil {
		return nil, errors.Join(err, o.stop())
	}
	return o, nil
}

// do makes a request and returns how many bytes its answer has, and the seconds that it took.
func (o *office) do(ctx context.Context, token, method, path, body string) (n int64, took float64, err error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+o.addr()+path, strings.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	start := time.Now()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return 0, 0, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	n, err = io.Copy(io.Discard, resp.Body)
	return n, time.Since(start).Seconds(), err
}

func (o *office) create(ctx context.Context, name, seed string) (float64, error) {
	_, took, err := o.do(ctx, o.api, http.MethodPost, "/v1/databases", fmt.Sprintf(`{"name":%q%s}`, name, seed))
	return took, err
}

func (o *office) destroy(ctx context.Context, name string) error {
	_, _, err := o.do(ctx, o.api, http.MethodDelete, "/v1/databases/"+name, "")
	return err
}

func (o *office) sql(ctx context.Context, name string, statements ...string) (float64, error) {
	var b bytes.Buffer
	for i, s := range statements {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"execute","stmt":{"sql":%q,"want_rows":true}}`, s)
	}
	_, took, err := o.do(ctx, o.token, http.MethodPost, "/db/"+name+"/v3/pipeline", `{"requests":[`+b.String()+`]}`)
	return took, err
}

// fill makes a table of so many rows of 1 MB.
func (o *office) fill(ctx context.Context, name string, rows int) error {
	if _, err := o.sql(ctx, name, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"); err != nil {
		return err
	}
	for range rows {
		if _, err := o.sql(ctx, name, "INSERT INTO t(v) VALUES (randomblob(1000000))"); err != nil {
			return err
		}
	}
	return nil
}

func quantile(xs []float64, q float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return xs[min(len(xs)-1, int(q*float64(len(xs))))]
}

// platformSuite measures the Platform API with many databases.
func platformSuite(ctx context.Context, s *settings, r *report) (err error) {
	o, err := newOffice(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.stop()) }()
	for _, m := range []struct {
		name string
		fn   func(context.Context, *settings, *report) error
	}{{"create", o.creating}, {"idle", o.idle}, {"cold", o.cold}, {"fork", o.past}} {
		if s.wants(m.name) {
			if err := m.fn(ctx, s, r); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
	}
	return nil
}

// existing is how many databases there are.
func existing(s *settings) int { return s.scaled(10_000, 100) }

func (o *office) creating(ctx context.Context, s *settings, r *report) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	n := existing(s)
	progress("platform: creating %d databases", n)
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				if _, err := o.create(ctx, fmt.Sprintf("idle-%05d", i), ""); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	var created, listed []float64
	for i := range s.scaled(1000, 50) {
		took, err := o.create(ctx, fmt.Sprintf("new-%05d", i), "")
		if err != nil {
			return err
		}
		created = append(created, took)
	}
	for i := range s.scaled(200, 20) {
		_, took, err := o.do(ctx, o.api, http.MethodGet, fmt.Sprintf("/v1/databases?limit=100&cursor=idle-%05d", i*n/200), "")
		if err != nil {
			return err
		}
		listed = append(listed, took)
	}
	what := fmt.Sprintf(", at %d", n)
	r.add(newRow("create a database by REST, p50"+what, seconds, []float64{quantile(created, 0.5)}, "", nil, oursAtMost(2e-3)),
		newRow("create a database by REST, p99"+what, seconds, []float64{quantile(created, 0.99)}, "", nil, oursAtMost(20e-3)),
		newRow("list a page of 100, p50"+what, seconds, []float64{quantile(listed, 0.5)}, "", nil, oursAtMost(50e-3)))
	return nil
}

// idle measures what databases cost that nobody uses, on the disk and in a server that was just started.
func (o *office) idle(ctx context.Context, s *settings, r *report) error {
	if err := errors.Join(o.stop(), o.start(ctx, o.dir)); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	u, err := usageOf(o.server.pid())
	if err != nil {
		return err
	}
	disk := int64(0)
	err = filepath.WalkDir(filepath.Join(o.dir, "data"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				disk += info.Size()
			}
		}
		return err
	})
	n := float64(existing(s) + s.scaled(1000, 50))
	r.add(newRow(fmt.Sprintf("%.0f idle databases: RSS", n), size, []float64{u.rss}, "", nil, oursAtMost(150e6)),
		newRow("open descriptors for each, the store's files aside", count, []float64{float64(u.fds-u.store) / n}, "", nil, target{}),
		newRow("bytes on the disk for each", size, []float64{float64(disk) / n}, "", nil, oursAtMost(1000)))
	return err
}

// cold measures the first query after a start, of databases of 1 MB.
func (o *office) cold(ctx context.Context, s *settings, r *report) error {
	n := s.scaled(100, 10)
	for i := range n {
		if err := o.fill(ctx, fmt.Sprintf("cold-%d", i), 1); err != nil {
			return err
		}
	}
	if err := errors.Join(o.stop(), o.start(ctx, o.dir)); err != nil {
		return err
	}
	var took []float64
	for i := range n {
		x, err := o.sql(ctx, fmt.Sprintf("cold-%d", i), "SELECT length(v) FROM t WHERE id = 1")
		if err != nil {
			return err
		}
		took = append(took, x)
	}
	r.add(newRow("first query on a cold database of 1 MB, p50", seconds, []float64{quantile(took, 0.5)}, "", nil, oursAtMost(15e-3)))
	return nil
}

// past measures forks and exports of a database of 100 MB as it was before.
func (o *office) past(ctx context.Context, s *settings, r *report) error {
	if err := o.fill(ctx, "big", s.scaled(100, 5)); err != nil {
		return err
	}
	time.Sleep(20 * time.Millisecond)
	at := time.Now().UTC().Format(time.RFC3339Nano)
	time.Sleep(20 * time.Millisecond)
	if _, err := o.sql(ctx, "big", "UPDATE t SET v = randomblob(1000000) WHERE id % 10 = 0"); err != nil {
		return err
	}
	var forked, rate []float64
	for i := range s.runs {
		name := fmt.Sprintf("fork-%d", i)
		took, err := o.create(ctx, name, fmt.Sprintf(`,"seed":{"type":"database","name":"big","timestamp":%q}`, at))
		if err != nil {
			return err
		}
		forked = append(forked, took)
		n, took, err := o.do(ctx, o.api, http.MethodGet, "/v1/databases/big/export?timestamp="+at, "")
		if err != nil {
			return err
		}
		rate = append(rate, float64(n)/1e6/took)
		if err := o.destroy(ctx, name); err != nil {
			return err
		}
	}
	mb := s.scaled(100, 5)
	r.add(newRow(fmt.Sprintf("fork a database of %d MB at a past time", mb), seconds, forked, "", nil, oursAtMost(10e-3)),
		newRow(fmt.Sprintf("export %d MB of a past time, MB/s", mb), count, rate, "", nil, oursAtLeast(150)))
	return nil
}
