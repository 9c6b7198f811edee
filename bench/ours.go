package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/agentdb/agentdb"
)

// ourProduct is agentdb with its own server, with a token.
type ourProduct struct {
	s        *settings
	database string // "*": the token is for all databases
	server   *server
	token    string
}

func (p *ourProduct) name() string { return "agentdb" }
func (p *ourProduct) addr() string { return p.server.addr }

// agentdbBinary builds the agentdb command, once.
func agentdbBinary(ctx context.Context, s *settings) (string, error) {
	bin := filepath.Join(s.tmp, "agentdb")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/agentdb")
	cmd.Dir, cmd.Env = filepath.Dir(s.bench), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build agentdb: %w\n%s", err, out)
	}
	return bin, nil
}

func (p *ourProduct) start(ctx context.Context, dir string) error {
	bin, err := agentdbBinary(ctx, p.s)
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	p.server, err = startServer(ctx, filepath.Join(dir, "server.log"), func(addr string) *exec.Cmd {
		return exec.Command(bin, "serve", "--listen", addr, "--data", data, "--log-level", "warn")
	})
	if err != nil {
		return err
	}
	p.token, err = newToken(ctx, bin, data, p.database)
	return err
}

// newToken makes a token for a database with the command that our users use.
func newToken(ctx context.Context, bin, data, name string) (string, error) {
	var complaint strings.Builder
	cmd := exec.CommandContext(ctx, bin, "token", "create", name, "--data", data)
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("token create: %w: %s", err, complaint.String())
	}
	return strings.TrimSpace(string(out)), nil
}

func (p *ourProduct) stop() error { return p.server.stop() }

func (p *ourProduct) open(ctx context.Context, path, addr string) (client, float64, error) {
	return p.openAs(ctx, path, &agentdb.Options{URL: "http://" + addr + "/db/" + p.database, AuthToken: p.token})
}

func (p *ourProduct) openAs(ctx context.Context, path string, o *agentdb.Options) (*ourClient, float64, error) {
	start := time.Now()
	db, err := agentdb.Open(ctx, path, o)
	if err != nil {
		return nil, 0, err
	}
	if o.Interval == 0 {
		_, err = db.Sync(ctx)
	}
	return &ourClient{db}, time.Since(start).Seconds(), err
}

// commits pushes the rows one by one, from an agent that only sends.
func (p *ourProduct) commits(ctx context.Context, sql string, rows [][]any) error {
	dir, err := os.MkdirTemp(p.s.tmp, "writer-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c, _, err := p.openAs(ctx, filepath.Join(dir, "writer.db"), &agentdb.Options{URL: "http://" + p.addr() + "/db/" + p.database,
		AuthToken: p.token, Synchronous: "OFF"})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := c.db.Exec(ctx, sql, r...); err != nil {
			return err
		}
		if _, err := c.push(ctx); err != nil {
			return err
		}
	}
	return c.close()
}

// ourClient is a replica in this process.
type ourClient struct{ db *agentdb.DB }

func (c *ourClient) exec(ctx context.Context, sql string) error {
	_, err := c.db.Exec(ctx, sql)
	return err
}

func (c *ourClient) insert(ctx context.Context, sql string, rows [][]any, oneTx bool) error {
	if oneTx {
		return c.db.Update(ctx, func(tx *agentdb.Tx) error {
			for _, r := range rows {
				if _, err := tx.Exec(ctx, sql, r...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, r := range rows {
		if _, err := c.db.Exec(ctx, sql, r...); err != nil {
			return err
		}
	}
	return nil
}

func timed(fn func() error) (float64, error) {
	start := time.Now()
	err := fn()
	return time.Since(start).Seconds(), err
}

func (c *ourClient) push(ctx context.Context) (float64, error) {
	return timed(func() error { _, err := c.db.Push(ctx); return err })
}

func (c *ourClient) pull(ctx context.Context) (float64, error) {
	return timed(func() error { _, err := c.db.Pull(ctx); return err })
}

func (c *ourClient) sync(ctx context.Context) (float64, error) {
	return timed(func() error { _, err := c.db.Sync(ctx); return err })
}

func (c *ourClient) value(ctx context.Context, sql string) (float64, error) {
	return agentdb.Get[float64](ctx, c.db, sql)
}

func (c *ourClient) close() error { return c.db.Close() }
