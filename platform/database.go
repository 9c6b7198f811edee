package platform

import (
	"encoding/json"
	"time"
)

// Database is a database as the API describes it.
type Database struct {
	Name      string
	ID        string // a UUID, its own for good
	Hostname  string
	URL       string // for agentdb.Options.URL
	Group     string
	Type      string
	Version   string
	Archived  bool
	Parent    *Parent // what it was forked from; nil: nothing
	CreatedAt time.Time

	Revision       uint64 // the newest; of Get. agentdb only
	OldestRevision uint64 // the oldest that is kept; of Get. agentdb only
	Configuration
}

// Parent is the database that another was forked from.
type Parent struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"` // Turso only
	Revision uint64 `json:"revision"`       // agentdb only
}

// Configuration is what can be set of a database.
type Configuration struct {
	SizeLimit        int64 // bytes; 0: the server's
	RateLimit        int64 // requests per second; 0: the server's. agentdb only
	AllowAttach      bool
	BlockReads       bool
	BlockWrites      bool
	DeleteProtection bool
	ExpiresAt        time.Time     // when it is deleted; zero: never. agentdb only
	IdleTimeout      time.Duration // unused for so long, it is deleted; 0: never. agentdb only
	OnExpiry         string        // "export" or "drop" when its time is over; "": the server's. agentdb only
}

// databaseJSON is a database in an answer.
type databaseJSON struct {
	Name           string `json:"Name"`
	ID             string `json:"DbId"`
	Hostname       string
	URL            string `json:"url"`
	Group          string
	Type           string
	Version        string
	Archived       bool
	Parent         *Parent
	CreatedAt      time.Time `json:"created_at"`
	Revision       uint64    `json:"revision"`
	OldestRevision uint64    `json:"oldest_revision"`
	configurationJSON
}

type configurationJSON struct {
	SizeLimit        size      `json:"size_limit"`
	RateLimit        int64     `json:"rate_limit"`
	AllowAttach      bool      `json:"allow_attach"`
	BlockReads       bool      `json:"block_reads"`
	BlockWrites      bool      `json:"block_writes"`
	DeleteProtection bool      `json:"delete_protection"`
	ExpiresAt        time.Time `json:"expires_at"`
	IdleTimeout      span      `json:"idle_timeout"`
	OnExpiry         string    `json:"on_expiry"`
}

// UnmarshalJSON implements json.Unmarshaler. A database without a URL has that
// of its host.
func (d *Database) UnmarshalJSON(b []byte) error {
	var j databaseJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*d = Database{
		Name: j.Name, ID: j.ID, Hostname: j.Hostname, URL: j.URL, Group: j.Group, Type: j.Type, Version: j.Version,
		Archived: j.Archived, Parent: j.Parent, CreatedAt: j.CreatedAt, Revision: j.Revision, OldestRevision: j.OldestRevision, Configuration: j.configuration(),
	}
	if d.URL == "" && d.Hostname != "" {
		d.URL = "libsql://" + d.Hostname
	}
	return nil
}

func (j *configurationJSON) configuration() Configuration {
	return Configuration{
		SizeLimit: int64(j.SizeLimit), RateLimit: j.RateLimit, AllowAttach: j.AllowAttach, BlockReads: j.BlockReads, BlockWrites: j.BlockWrites,
		DeleteProtection: j.DeleteProtection, ExpiresAt: j.ExpiresAt, IdleTimeout: time.Duration(j.IdleTimeout), OnExpiry: j.OnExpiry,
	}
}

// Change is what Configure changes of a database; nil is left alone.
type Change struct {
	SizeLimit        *int64 // 0: the server's
	RateLimit        *int64 // requests per second; 0: the server's. agentdb only
	AllowAttach      *bool
	BlockReads       *bool
	BlockWrites      *bool
	DeleteProtection *bool
	ExpiresAt        *time.Time     // zero: never. agentdb only
	IdleTimeout      *time.Duration // 0: never. agentdb only
	OnExpiry         *string        // "export", "drop", or "" for the server's. agentdb only
}

func (ch *Change) body() map[string]any {
	b := map[string]any{}
	for name, v := range map[string]*bool{
		"allow_attach": ch.AllowAttach, "block_reads": ch.BlockReads, "block_writes": ch.BlockWrites, "delete_protection": ch.DeleteProtection,
	} {
		if v != nil {
			b[name] = *v
		}
	}
	if ch.SizeLimit != nil {
		b["size_limit"] = formatSize(*ch.SizeLimit)
	}
	if ch.RateLimit != nil {
		b["rate_limit"] = *ch.RateLimit
	}
	if ch.ExpiresAt != nil {
		b["expires_at"] = ""
		if !ch.ExpiresAt.IsZero() {
			b["expires_at"] = formatTime(*ch.ExpiresAt)
		}
	}
	if ch.IdleTimeout != nil {
		b["idle_timeout"] = formatSpan(*ch.IdleTimeout)
	}
	if ch.OnExpiry != nil {
		b["on_expiry"] = *ch.OnExpiry
	}
	return b
}

// Query is what statements that differ in values only have cost a database.
type Query struct {
	SQL         string `json:"query"`
	Runs        int64  `json:"runs"` // agentdb only
	RowsRead    int64  `json:"rows_read"`
	RowsWritten int64  `json:"rows_written"`
}

// Usage is what databases have used: rows and bytes in a time, and the storage
// that they take now.
type Usage struct {
	RowsRead     int64 `json:"rows_read"`
	RowsWritten  int64 `json:"rows_written"`
	StorageBytes int64 `json:"storage_bytes"`
	BytesSynced  int64 `json:"bytes_synced"`
}
