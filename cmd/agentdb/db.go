package main

import (
	"time"

	"github.com/agentdb/agentdb/platform"
)

// dbCmd is "agentdb db".
type dbCmd struct {
	remote
	Create  dbCreateCmd  `cmd:"" help:"Make a database: empty, from another, from a file or from a dump."`
	List    dbListCmd    `cmd:"" aliases:"ls" help:"List databases."`
	Show    dbShowCmd    `cmd:"" help:"Show a database."`
	Shell   dbShellCmd   `cmd:"" help:"Run SQL on a database."`
	Fork    dbForkCmd    `cmd:"" help:"Make a database that begins as another was at some point."`
	Restore dbRestoreCmd `cmd:"" help:"Take a database back to an earlier point; can itself be undone."`
	Export  dbExportCmd  `cmd:"" help:"Write a database to a SQLite file."`
	Import  dbImportCmd  `cmd:"" help:"Make a database from a SQLite file or a dump."`
	Config  dbConfigCmd  `cmd:"" help:"Show or change limits and protection of a database."`
	Usage   dbUsageCmd   `cmd:"" help:"Show what a database uses."`
	Tokens  dbTokensCmd  `cmd:"" help:"Make or void tokens for a database."`
	Destroy dbDestroyCmd `cmd:"" aliases:"rm,delete" help:"Delete databases."`
}

// databaseView is a database in the output for programs.
type databaseView struct {
	Name             string           `json:"name"`
	ID               string           `json:"id"`
	URL              string           `json:"url"`
	Hostname         string           `json:"hostname"`
	Group            string           `json:"group"`
	Parent           *platform.Parent `json:"parent,omitempty"`
	CreatedAt        time.Time        `json:"created_at"`
	ExpiresAt        *time.Time       `json:"expires_at,omitempty"`
	IdleTimeout      string           `json:"idle_timeout,omitempty"`
	SizeLimit        int64            `json:"size_limit,omitempty"`
	BlockReads       bool             `json:"block_reads"`
	BlockWrites      bool             `json:"block_writes"`
	DeleteProtection bool             `json:"delete_protection"`

	Revision       *uint64 `json:"revision,omitempty"`
	OldestRevision *uint64 `json:"oldest_revision,omitempty"`
}

func viewOf(d *platform.Database) databaseView {
	v := databaseView{
		Name: d.Name, ID: d.ID, URL: d.URL, Hostname: d.Hostname, Group: d.Group, Parent: d.Parent, CreatedAt: d.CreatedAt,
		SizeLimit: d.SizeLimit, BlockReads: d.BlockReads, BlockWrites: d.BlockWrites, DeleteProtection: d.DeleteProtection,
	}
	if !d.ExpiresAt.IsZero() {
		v.ExpiresAt = &d.ExpiresAt
	}
	if d.IdleTimeout > 0 {
		v.IdleTimeout = d.IdleTimeout.String()
	}
	return v
}
