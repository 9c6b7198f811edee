package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/cmd/agentdb/internal/shell"
)

// shellCmd is "agentdb shell".
type shellCmd struct {
	Target string `arg:"" name:"file|url" help:"A database file, made if there is none, or the URL of a server's database."`
	SQL    string `arg:"" optional:"" help:"Statements to run instead of those on standard input."`
	URL    string `help:"URL that the file is synced with; asked for to write to a synced file."`
	Token  string `env:"AGENTDB_TOKEN" help:"Token for the server."`
	Pull   bool   `help:"Only receive; writes are refused. For tokens that allow no more."`
	Mode   string `enum:"table,csv,json,line,list" default:"table" help:"How results are written: ${enum}."`
}

// Run implements the command.
func (s *shellCmd) Run(c *console) (err error) {
	interactive := s.SQL == "" && isTerminal(c.in) && isTerminal(c.out)
	signals := []os.Signal{syscall.SIGTERM}
	if !interactive { // Ctrl-C at a prompt only ends the statement
		signals = append(signals, os.Interrupt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	cfg := shell.Config{
		Name: s.Target, In: c.in, Out: c.out, Err: c.err,
		Interactive: interactive, Mode: s.Mode, HistoryFile: historyFile(),
	}
	if s.SQL != "" {
		cfg.In = strings.NewReader(s.SQL)
	}
	if isTerminal(c.out) {
		cfg.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		cfg.Width, _, _ = term.GetSize(int(c.out.(*os.File).Fd())) // 0, no limit, if it is unknown
	}
	if err := s.open(ctx, &cfg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cfg.DB.Close()) }()
	return shell.Run(ctx, cfg)
}

// open opens a file, or a replica of a server's database, for the shell.
func (s *shellCmd) open(ctx context.Context, cfg *shell.Config) error {
	path, url := s.Target, s.URL
	if isURL(path) {
		if url != "" {
			return errors.New("give a file with --url, or a URL alone")
		}
		file, err := replicaFile(path)
		if err != nil {
			return err
		}
		path, url = file, path
	}
	if url == "" {
		db, err := agentdb.Open(ctx, path, nil)
		cfg.DB = db
		return err
	}
	o := &agentdb.Options{URL: url, AuthToken: s.Token}
	if s.Pull {
		o.Sync = agentdb.SyncPull
	}
	db, err := agentdb.Open(ctx, path, o)
	if err != nil {
		return err
	}
	cfg.DB = db
	syncs(cfg)
	// What others wrote is what one came to see. Offline, at a prompt, the
	// replica as it is will do.
	_, err = db.Sync(ctx)
	switch {
	case err == nil:
		return nil
	case cfg.Interactive && errors.Is(err, agentdb.ErrOffline):
		fmt.Fprintf(cfg.Err, "agentdb: %s can't be reached: this is its state at the last sync, writes are sent at the next\n", url)
		return nil
	default:
		return errors.Join(err, db.Close())
	}
}

// syncs makes a shell's database sync: when asked, and after each write, so
// that the shell shows and changes what is on the server.
func syncs(cfg *shell.Config) {
	db := cfg.DB
	cfg.Sync = func(ctx context.Context) (string, error) {
		rep, err := db.Sync(ctx)
		return describe(rep), err
	}
	cfg.AfterWrite = func(ctx context.Context) error {
		_, err := db.Sync(ctx)
		if cfg.Interactive && errors.Is(err, agentdb.ErrOffline) {
			fmt.Fprintln(cfg.Err, "agentdb: offline: the write is kept, and sent at the next sync")
			return nil
		}
		return err
	}
	cfg.Status = func() string {
		st := db.Status()
		text := fmt.Sprintf("revision  %d\nunsent    %d\nreplica   %s\nbytes     %d sent, %d received", st.Revision, st.Pending, st.Replica, st.BytesSent, st.BytesReceived)
		if !st.LastSync.IsZero() {
			text += "\nsynced    " + st.LastSync.Format("2006-01-02 15:04:05")
		}
		if st.LastError != nil {
			text += "\nerror     " + strings.TrimPrefix(st.LastError.Error(), "agentdb: ")
		}
		return text
	}
}

// describe tells what a sync did.
func describe(rep agentdb.Report) string {
	parts := []string{fmt.Sprintf("pushed %d, pulled %d, at revision %d", rep.Pushed, rep.Pulled, rep.Revision)}
	if rep.Conflicts > 0 {
		parts = append(parts, fmt.Sprintf("%d conflicts: see agentdb_conflicts", rep.Conflicts))
	}
	for _, id := range rep.IDs {
		parts = append(parts, fmt.Sprintf("row %d of %s is now %d", id.Old, id.Table, id.New))
	}
	if rep.Diverged != "" {
		parts = append(parts, "the file had been changed by another program; it is kept as "+rep.Diverged)
	}
	return strings.Join(parts, "\n")
}

func isURL(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (scheme == "http" || scheme == "https" || scheme == "libsql")
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// replicaFile is where the shell keeps its replica of a URL: in the user's
// cache, so that the next shell needs to fetch only what is new, and writes
// made offline aren't lost.
func replicaFile(url string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("a place for the replica: %w", err)
	}
	dir = filepath.Join(dir, "agentdb", "replicas")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("a place for the replica: %w", err)
	}
	safe := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, strings.TrimSuffix(url, "/"))
	// The hash tells apart what the readable part doesn't.
	sum := sha256.Sum256([]byte(strings.TrimSuffix(url, "/")))
	return filepath.Join(dir, fmt.Sprintf("%.80s-%x.db", safe, sum[:6])), nil
}

// historyFile is where interactive shells keep their lines; "" if the user has
// no place for it.
func historyFile() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "agentdb", "shell_history")
}
