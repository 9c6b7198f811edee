// Package ormtest runs real tools of database/sql on agentdb. It is a module of its own, so that they are not dependencies of the library.
package ormtest

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

const authorsSchema = `CREATE TABLE authors (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  bio        TEXT,
  created_at DATETIME NOT NULL,
  active     BOOLEAN NOT NULL
);`

func open(t *testing.T) *agentdb.DB {
	t.Helper()
	db, err := agentdb.Open(context.Background(), filepath.Join(t.TempDir(), "test.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func TestSQLC(t *testing.T) {
	ctx := context.Background()
	db := open(t)
	if _, err := db.Exec(ctx, authorsSchema); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	q := New(db.SQL())
	ann, err := q.CreateAuthor(ctx, CreateAuthorParams{Name: "Ann", Bio: sql.NullString{String: "writes", Valid: true}, CreatedAt: at, Active: true})
	if err != nil || ann.ID != 1 || ann.Bio.String != "writes" || !ann.CreatedAt.Equal(at) || !ann.Active {
		t.Errorf("%+v, %v", ann, err)
	}
	_, err = q.CreateAuthor(ctx, CreateAuthorParams{Name: "Ann", CreatedAt: at})
	var e *agentdb.Error
	if !errors.As(err, &e) || e.Name != "SQLITE_CONSTRAINT_UNIQUE" {
		t.Errorf("the same name: %v", err)
	}
	tx, err := db.SQL().BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.WithTx(tx).CreateAuthor(ctx, CreateAuthorParams{Name: "Bob", CreatedAt: at}); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	list, err := q.ListAuthors(ctx)
	if err != nil || len(list) != 2 || list[1].Name != "Bob" || list[1].Bio.Valid || list[1].Active {
		t.Errorf("%+v, %v", list, err)
	}
	if n, err := q.DeleteAuthor(ctx, ann.ID); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	// The library's own interface sees the same rows.
	bob, err := agentdb.Get[Author](ctx, db, "SELECT * FROM authors")
	if err != nil || bob.Name != "Bob" || !bob.CreatedAt.Equal(at) {
		t.Errorf("%+v, %v", bob, err)
	}
}
