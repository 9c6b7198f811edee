package main

import (
	"bytes"
	"context"
	"fmt"
)

const refHeader = "Host: 127.0.0.1\r\nContent-Type: application/json\r\n"

// refPusher pushes to the reference server what @tursodatabase/sync sends for one inserted row: a request that reads how far
// its pushes have come, and a batch that writes the row and that mark in one transaction. With batchOnly it leaves out the first.
type refPusher struct {
	conn      *rawConn
	client    string
	text      *texts
	id        int
	batchOnly bool
}

// refSetup makes the tables on the reference server.
func refSetup(ctx context.Context, addr string) error {
	hc := newHTTP(1)
	defer hc.CloseIdleConnections()
	return pipeline(ctx, hc, addr, []step{{SQL: notesDDL}, {SQL: markDDL}}, false)
}

const (
	markDDL    = `CREATE TABLE IF NOT EXISTS turso_sync_last_change_id (client_id TEXT PRIMARY KEY, pull_gen INTEGER, change_id INTEGER)`
	markSelect = `SELECT pull_gen, change_id FROM turso_sync_last_change_id WHERE client_id = ?`
	markUpsert = `INSERT INTO turso_sync_last_change_id(client_id, pull_gen, change_id) VALUES (?, ?, ?) ON CONFLICT(client_id) DO UPDATE SET pull_gen=excluded.pull_gen, change_id=excluded.change_id`
	rowUpsert  = `INSERT INTO "notes"("id", "body") VALUES (?,?) ON CONFLICT("id") DO UPDATE SET "id" = excluded."id","body" = excluded."body"`
)

func newRefPushers(addr string, n int, batchOnly bool, firstID int) []pusher {
	var agents []pusher
	for i := range n {
		agents = append(agents, &refPusher{conn: newRaw(addr), client: fmt.Sprintf("agent-%d-%d", firstID, i), text: newTexts(uint64(i)),
			id: firstID + i*1_000_000, batchOnly: batchOnly})
	}
	return agents
}

func (p *refPusher) push() error {
	if !p.batchOnly {
		if err := p.post(step{SQL: markSelect, Args: []any{p.client}}); err != nil {
			return err
		}
	}
	p.id++
	in := notAutocommit()
	return p.post(step{SQL: "BEGIN IMMEDIATE"}, step{SQL: markDDL, Cond: in}, step{SQL: rowUpsert, Args: []any{p.id, p.text.get()}, Cond: in},
		step{SQL: markUpsert, Args: []any{p.client, 0, p.id}, Cond: in}, step{SQL: "COMMIT", Cond: in})
}

func (p *refPusher) post(steps ...step) error {
	body, err := pipelineBody(steps)
	if err != nil {
		return err
	}
	answer, err := p.conn.post("/v2/pipeline", refHeader, body)
	if err != nil {
		return err
	}
	if !bytes.Contains(answer, []byte(`"type":"ok"`)) || bytes.Contains(answer, []byte(`"message"`)) {
		return fmt.Errorf("reference server: %.300s", answer)
	}
	return nil
}

func (p *refPusher) close() error { return p.conn.close() }
