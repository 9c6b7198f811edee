package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
)

// New returns the API of a catalog, after Recover. Close it.
func New(ctx context.Context, cfg Config) (*API, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxUpload <= 0 {
		cfg.MaxUpload = 1 << 30
	}
	suffix := ""
	if cfg.Org == "" {
		cfg.Org = catalog.DefaultOrg
	} else {
		suffix = "-" + cfg.Org
	}
	a := &API{cfg: cfg, suffix: suffix, done: make(chan struct{}), started: cfg.Now(), used: map[string]time.Time{}, claimed: map[string]bool{}, adopt: make(chan struct{}, 1)}
	a.routes = a.table()
	for _, rt := range a.routes {
		if rt.path != "" {
			rt.segments = strings.Split(rt.path, "/")
		}
	}
	var err error
	if a.document, err = newDocument(a.routes); err != nil {
		return nil, err
	}
	if err := cfg.Store.EnsureOrg(ctx, cfg.Org); err != nil {
		return nil, fmt.Errorf("platform: %w", err)
	}
	if err := os.RemoveAll(cfg.UploadDir); err != nil {
		return nil, fmt.Errorf("platform: %w", err)
	}
	if err := os.MkdirAll(cfg.UploadDir, 0o700); err != nil {
		return nil, fmt.Errorf("platform: %w", err)
	}
	if err := a.Recover(ctx); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.Background())
	a.stop = stop
	go func() {
		defer close(a.done)
		var both sync.WaitGroup
		both.Go(func() { a.adoption(background) })
		a.sweep(background)
		both.Wait()
	}()
	return a, nil
}

// Close ends the background work, and keeps what databases were used for. It is
// safe to call twice.
func (a *API) Close() {
	a.stop()
	<-a.done
	if err := a.keepUsage(context.Background()); err != nil && !errors.Is(err, catalog.ErrClosed) {
		a.cfg.Logger.Error("platform: keep usage", "err", err)
	}
}

// bearer returns the token of a request.
func (c *call) bearer() catalog.Token {
	scheme, token, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return catalog.Token(strings.TrimSpace(token))
}

// base returns the server's own URL, as the client knows it.
func (c *call) base() string {
	scheme := "http"
	if c.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + c.Host
}
