package replica

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Times of the background sync.
const (
	longestPoll    = 50 * time.Second // below the usual idle limits of proxies
	firstBackoff   = 50 * time.Millisecond
	longestBackoff = 30 * time.Second
)

// background is the goroutine that syncs by itself: at once after a local
// commit, and when a long poll brings news.
type background struct {
	r      *Replica
	wakeup chan struct{} // holds one token after a local commit
	cancel context.CancelFunc
	done   chan struct{}
}

func startBackground(r *Replica) *background {
	ctx, cancel := context.WithCancel(context.Background())
	b := &background{r: r, wakeup: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{})}
	go b.run(ctx)
	return b
}

// stop ends the goroutine and waits for it.
func (b *background) stop() {
	b.cancel()
	<-b.done
}

// wake says that there is something to send.
func (b *background) wake() {
	select {
	case b.wakeup <- struct{}{}:
	default:
	}
}

var errWoken = errors.New("a local commit")

func (b *background) run(ctx context.Context) {
	defer close(b.done)
	failures := 0
	for ctx.Err() == nil {
		err := b.round(ctx, failures > 0)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil || errors.Is(err, errWoken):
		default:
			if failures == 0 {
				b.r.cfg.Logger.Warn("background sync", "err", err)
			}
			failures++
			if pause(ctx, failures, longestBackoff) != nil {
				return
			}
		}
	}
}

// round syncs once, and then waits for news or for something to send.
func (b *background) round(ctx context.Context, failed bool) error {
	select {
	case <-b.wakeup:
	default:
	}
	if _, err := b.r.Sync(ctx, true, true); err != nil {
		return err
	}
	if failed {
		b.r.cfg.Logger.Info("background sync is back")
	}
	if b.r.cfg.Mode == PushOnly {
		t := time.NewTimer(b.r.cfg.Interval)
		defer t.Stop()
		select {
		case <-b.wakeup:
		case <-t.C:
		case <-ctx.Done():
		}
		return nil
	}
	poll, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop, ended := make(chan struct{}), make(chan struct{})
	defer func() {
		close(stop)
		<-ended // else it might swallow a later wake-up
	}()
	go func() {
		defer close(ended)
		select {
		case <-b.wakeup:
			cancel(errWoken)
		case <-stop:
		}
	}()
	start := time.Now()
	moved, err := b.r.Poll(poll, min(b.r.cfg.Interval, longestPoll))
	if err == nil && !moved && time.Since(start) < 20*time.Millisecond {
		return pause(poll, 1, b.r.cfg.Interval) // a server without long polls
	}
	return err
}

// backoff is a random time around a doubling one.
func backoff(attempt int, longest time.Duration) time.Duration {
	d := firstBackoff << min(attempt, 12)
	d = min(d, longest)
	return d/2 + rand.N(d)
}
