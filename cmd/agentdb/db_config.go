package main

import (
	"cmp"
	"strconv"
	"time"

	"github.com/agentdb/agentdb/platform"
)

// dbConfigCmd is "agentdb db config".
type dbConfigCmd struct {
	Name             string    `arg:"" help:"Name of the database."`
	SizeLimit        *limit    `help:"How large it may grow: 512KiB, 64MiB, 1GiB, or none."`
	RateLimit        *int64    `help:"How many requests per second it takes, or 0 for what the server allows."`
	TTL              *lifetime `name:"ttl" help:"Delete it after this time from now: 90m, 24h, 30d, or never."`
	Idle             *lifetime `help:"Delete it when it was unused for this time, or never."`
	OnExpiry         *string   `placeholder:"export|drop" help:"Whether the server exports it then, before it deletes it; empty: as the server does."`
	BlockReads       *bool     `negatable:"" help:"Refuse reads."`
	BlockWrites      *bool     `negatable:"" help:"Refuse writes."`
	DeleteProtection *bool     `negatable:"" help:"Protect it from being deleted."`
}

// Run implements the command. Without flags it only shows.
func (d *dbConfigCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	ch := platform.Change{OnExpiry: d.OnExpiry, RateLimit: d.RateLimit, BlockReads: d.BlockReads, BlockWrites: d.BlockWrites, DeleteProtection: d.DeleteProtection}
	if d.SizeLimit != nil {
		ch.SizeLimit = new(int64(*d.SizeLimit))
	}
	if d.TTL != nil {
		ch.ExpiresAt = &time.Time{}
		if *d.TTL > 0 {
			ch.ExpiresAt = new(time.Now().Add(time.Duration(*d.TTL)))
		}
	}
	if d.Idle != nil {
		ch.IdleTimeout = new(time.Duration(*d.Idle))
	}
	api := r.client()
	var conf platform.Configuration
	var err error
	if ch == (platform.Change{}) {
		conf, err = api.Databases.Configuration(ctx, d.Name)
	} else {
		conf, err = api.Databases.Configure(ctx, d.Name, ch)
	}
	switch {
	case err != nil:
		return err
	case r.JSON:
		v := map[string]any{
			"size_limit": conf.SizeLimit, "rate_limit": conf.RateLimit, "block_reads": conf.BlockReads, "block_writes": conf.BlockWrites, "delete_protection": conf.DeleteProtection,
		}
		if !conf.ExpiresAt.IsZero() {
			v["expires_at"] = conf.ExpiresAt
		}
		if conf.IdleTimeout > 0 {
			v["idle_timeout"] = conf.IdleTimeout.String()
		}
		if conf.OnExpiry != "" {
			v["on_expiry"] = conf.OnExpiry
		}
		return c.writeJSON(v)
	}
	return c.writeFields(
		[2]string{"size limit", showLimit(conf.SizeLimit)}, [2]string{"rate limit", showRate(conf.RateLimit)}, [2]string{"expires", orNever(showTime(conf.ExpiresAt))},
		[2]string{"idle timeout", orNever(showSpan(conf.IdleTimeout))}, [2]string{"on expiry", cmp.Or(conf.OnExpiry, "as the server does")},
		[2]string{"block reads", yesNo(conf.BlockReads)},
		[2]string{"block writes", yesNo(conf.BlockWrites)}, [2]string{"delete protection", yesNo(conf.DeleteProtection)})
}

func showRate(n int64) string {
	if n == 0 {
		return "the server's"
	}
	return strconv.FormatInt(n, 10) + "/s"
}

func showSpan(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func orNever(s string) string {
	if s == "" {
		return "never"
	}
	return s
}

// limit is a byteSize that may be none, 0.
type limit int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *limit) UnmarshalText(text []byte) error {
	if string(text) == "none" {
		*l = 0
		return nil
	}
	var b byteSize
	err := b.UnmarshalText(text)
	*l = limit(b)
	return err
}

// dbUsageCmd is "agentdb db usage".
type dbUsageCmd struct {
	Name string `arg:"" help:"Name of the database."`
}

// Run implements the command.
func (d *dbUsageCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	u, err := r.client().Databases.Usage(ctx, d.Name)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(u)
	}
	n := func(n int64) string { return strconv.FormatInt(n, 10) }
	return c.writeFields(
		[2]string{"storage", showSize(u.StorageBytes)}, [2]string{"rows read", n(u.RowsRead)},
		[2]string{"rows written", n(u.RowsWritten)}, [2]string{"synced", showSize(u.BytesSynced)})
}
