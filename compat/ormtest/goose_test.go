package ormtest

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/agentdb/agentdb"
	"github.com/pressly/goose/v3"
)

var migrations = fstest.MapFS{
	"00001_tasks.sql": {Data: []byte(`-- +goose Up
CREATE TABLE tasks (id INTEGER PRIMARY KEY, title TEXT NOT NULL);
CREATE INDEX tasks_title ON tasks (title);

-- +goose Down
DROP TABLE tasks;
`)},
	"00002_done.sql": {Data: []byte(`-- +goose Up
ALTER TABLE tasks ADD COLUMN done BOOLEAN NOT NULL DEFAULT 0;
-- +goose StatementBegin
CREATE TRIGGER tasks_trim AFTER INSERT ON tasks BEGIN
  UPDATE tasks SET title = trim(title) WHERE id = NEW.id;
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER tasks_trim;
ALTER TABLE tasks DROP COLUMN done;
`)},
	"00003_optimize.sql": {Data: []byte(`-- +goose NO TRANSACTION
-- +goose Up
VACUUM;

-- +goose Down
SELECT 1;
`)},
}

func TestGoose(t *testing.T) {
	ctx := context.Background()
	db := open(t)
	p, err := goose.NewProvider(goose.DialectSQLite3, db.SQL(), migrations)
	if err != nil {
		t.Fatal(err)
	}
	up, err := p.Up(ctx)
	if err != nil || len(up) != 3 {
		t.Fatalf("up: %d migrations, %v", len(up), err)
	}
	if _, err := db.Exec(ctx, "INSERT INTO tasks (title, done) VALUES ('  write ', TRUE)"); err != nil {
		t.Fatal(err)
	}
	title, err := agentdb.Get[string](ctx, db, "SELECT title FROM tasks WHERE done")
	if err != nil || title != "write" {
		t.Errorf("%q, %v", title, err)
	}
	if again, err := p.Up(ctx); err != nil || len(again) != 0 {
		t.Errorf("up again: %d migrations, %v", len(again), err)
	}
	if v, err := p.GetDBVersion(ctx); err != nil || v != 3 {
		t.Errorf("version %d, %v", v, err)
	}
	if down, err := p.DownTo(ctx, 0); err != nil || len(down) != 3 {
		t.Errorf("down: %d migrations, %v", len(down), err)
	}
	n, err := agentdb.Get[int](ctx, db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'tasks%'")
	if err != nil || n != 0 {
		t.Errorf("%d things are left, %v", n, err)
	}
}
