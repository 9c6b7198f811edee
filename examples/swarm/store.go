package main

import (
	"context"
	"fmt"

	"github.com/agentdb/agentdb"
)

// schema is run by every process at its start, offline: who comes second
// finds the same tables when it syncs.
const schema = `
CREATE TABLE IF NOT EXISTS tasks (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	dir     TEXT NOT NULL,
	planner TEXT NOT NULL,
	state   TEXT NOT NULL DEFAULT 'todo' CHECK (state IN ('todo', 'claimed', 'done')),
	worker  TEXT
);
CREATE TABLE IF NOT EXISTS packages (
	id      INTEGER PRIMARY KEY,
	task_id INTEGER NOT NULL REFERENCES tasks (id),
	path    TEXT NOT NULL UNIQUE,
	name    TEXT NOT NULL,
	files   INTEGER NOT NULL,
	idents  INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS symbols (
	id         INTEGER PRIMARY KEY,
	package_id INTEGER NOT NULL REFERENCES packages (id),
	kind       TEXT NOT NULL,
	recv       TEXT NOT NULL,
	name       TEXT NOT NULL,
	file       TEXT NOT NULL,
	line       INTEGER NOT NULL,
	decls      INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS refs (
	id         INTEGER PRIMARY KEY,
	package_id INTEGER NOT NULL REFERENCES packages (id),
	target     TEXT NOT NULL,
	name       TEXT NOT NULL,
	uses       INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS docs (
	id         INTEGER PRIMARY KEY,
	package_id INTEGER NOT NULL REFERENCES packages (id),
	symbol_id  INTEGER REFERENCES symbols (id), -- NULL: the package's own comment
	text       TEXT NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS doc_index USING fts5 (text, content = 'docs', content_rowid = 'id');
CREATE TRIGGER IF NOT EXISTS docs_insert AFTER INSERT ON docs BEGIN
	INSERT INTO doc_index (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER IF NOT EXISTS docs_delete AFTER DELETE ON docs BEGIN
	INSERT INTO doc_index (doc_index, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER IF NOT EXISTS docs_update AFTER UPDATE ON docs BEGIN
	INSERT INTO doc_index (doc_index, rowid, text) VALUES ('delete', old.id, old.text);
	INSERT INTO doc_index (rowid, text) VALUES (new.id, new.text);
END;
`

// A task is a row of tasks.
type task struct {
	ID  int64
	Dir string
}

// index parses the package of a task and stores it, in one transaction with
// the mark that the task is done. The swarm's workers and the single process
// that they are compared with both run it.
func index(ctx context.Context, db *agentdb.DB, root string, t task) error {
	p, err := parsePackage(root, t.Dir)
	if err != nil {
		return err
	}
	err = db.Update(ctx, func(tx *agentdb.Tx) error {
		if err := save(ctx, tx, t.ID, p); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE tasks SET state = 'done' WHERE id = ?", t.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("index %s: %w", t.Dir, err)
	}
	return nil
}

// save inserts a package and all that belongs to it. Ids are whatever SQLite
// gives, so every worker gives the same ones to other rows.
func save(ctx context.Context, tx *agentdb.Tx, taskID int64, p *pkg) error {
	res, err := tx.Exec(ctx, "INSERT INTO packages (task_id, path, name, files, idents) VALUES (?, ?, ?, ?, ?)",
		taskID, p.Path, p.Name, p.Files, p.Idents)
	if err != nil {
		return err
	}
	id := res.LastInsertID
	if err := saveDoc(ctx, tx, id, nil, p.Doc); err != nil {
		return err
	}
	for _, s := range p.Symbols {
		res, err := tx.Exec(ctx, "INSERT INTO symbols (package_id, kind, recv, name, file, line, decls) VALUES (?, ?, ?, ?, ?, ?, ?)",
			id, s.Kind, s.Recv, s.Name, s.File, s.Line, s.Decls)
		if err != nil {
			return err
		}
		if err := saveDoc(ctx, tx, id, &res.LastInsertID, s.Doc); err != nil {
			return err
		}
	}
	for _, r := range p.Refs {
		if _, err := tx.Exec(ctx, "INSERT INTO refs (package_id, target, name, uses) VALUES (?, ?, ?, ?)", id, r.Target, r.Name, r.Uses); err != nil {
			return err
		}
	}
	return nil
}

func saveDoc(ctx context.Context, tx *agentdb.Tx, packageID int64, symbolID *int64, text string) error {
	if text == "" {
		return nil
	}
	_, err := tx.Exec(ctx, "INSERT INTO docs (package_id, symbol_id, text) VALUES (?, ?, ?)", packageID, symbolID, text)
	return err
}

// insertTasks plans the directories as tasks.
func insertTasks(ctx context.Context, db *agentdb.DB, planner string, dirs []string) error {
	return db.Update(ctx, func(tx *agentdb.Tx) error {
		for _, dir := range dirs {
			if _, err := tx.Exec(ctx, "INSERT INTO tasks (dir, planner) VALUES (?, ?)", dir, planner); err != nil {
				return err
			}
		}
		return nil
	})
}

// indexAlone does the swarm's work in one process, on a file of its own.
func indexAlone(ctx context.Context, db *agentdb.DB, root string, dirs []string) error {
	if _, err := db.Exec(ctx, schema); err != nil {
		return err
	}
	if err := insertTasks(ctx, db, "alone", dirs); err != nil {
		return err
	}
	tasks, err := agentdb.All[task](ctx, db, "SELECT id, dir FROM tasks ORDER BY id")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if err := index(ctx, db, root, t); err != nil {
			return err
		}
	}
	return nil
}
