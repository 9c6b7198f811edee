package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

// tursoProduct is @tursodatabase/sync on the reference server.
type tursoProduct struct {
	s      *settings
	server *server
	node   *node
	next   int
}

func (p *tursoProduct) name() string { return "@tursodatabase/sync" }
func (p *tursoProduct) addr() string { return p.server.addr }

func (p *tursoProduct) start(ctx context.Context, dir string) (err error) {
	if p.server, err = reference(ctx, p.s, filepath.Join(dir, "reference")); err != nil {
		return err
	}
	p.node, err = startNode(p.s, "sync.mjs")
	return err
}

func (p *tursoProduct) stop() error {
	err := p.server.stop()
	if p.node != nil {
		err = errors.Join(err, p.node.stop())
	}
	return err
}

func (p *tursoProduct) open(_ context.Context, path, addr string) (client, float64, error) {
	p.next++
	c := &tursoClient{node: p.node, id: strconv.Itoa(p.next)}
	r, err := c.do("open", map[string]any{"path": path, "url": "http://" + addr})
	return c, r, err
}

func (p *tursoProduct) commits(ctx context.Context, sql string, rows [][]any) error {
	hc := newHTTP(1)
	defer hc.CloseIdleConnections()
	for len(rows) > 0 {
		n := min(500, len(rows))
		steps := make([]step, n)
		for i := range steps {
			steps[i] = step{SQL: sql, Args: rows[i]}
		}
		if err := pipeline(ctx, hc, p.addr(), steps, false); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// tursoClient is a replica inside the Node process.
type tursoClient struct {
	node *node
	id   string
}

func (c *tursoClient) do(op string, args map[string]any) (float64, error) {
	command := map[string]any{"op": op, "db": c.id}
	for k, v := range args {
		command[k] = v
	}
	r, err := c.node.do(command)
	return r.Seconds, err
}

func (c *tursoClient) exec(_ context.Context, sql string) error {
	_, err := c.do("exec", map[string]any{"sql": sql})
	return err
}

func (c *tursoClient) insert(_ context.Context, sql string, rows [][]any, oneTx bool) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := c.do("insert", map[string]any{"sql": sql, "rows": rows, "tx": oneTx})
	return err
}

func (c *tursoClient) push(context.Context) (float64, error) { return c.do("push", nil) }
func (c *tursoClient) pull(context.Context) (float64, error) { return c.do("pull", nil) }
func (c *tursoClient) sync(context.Context) (float64, error) { return c.do("sync", nil) }

func (c *tursoClient) value(_ context.Context, sql string) (float64, error) {
	r, err := c.node.do(map[string]any{"op": "value", "db": c.id, "sql": sql})
	return r.Value, err
}

func (c *tursoClient) close() error {
	_, err := c.do("close", nil)
	return err
}

// step is one statement of a pipeline request.
type step struct {
	SQL  string
	Args []any
	Cond json.RawMessage // nil: always
}

// notAutocommit is the condition that the sync client puts on every step of a push but the first.
func notAutocommit() json.RawMessage {
	return json.RawMessage(`{"type":"not","cond":{"type":"is_autocommit"}}`)
}

// MarshalJSON writes the step as the SQL-over-HTTP protocol has it.
func (s step) MarshalJSON() ([]byte, error) {
	args := make([]map[string]any, len(s.Args))
	for i, a := range s.Args {
		switch x := a.(type) {
		case int:
			args[i] = map[string]any{"type": "integer", "value": strconv.Itoa(x)}
		case float64:
			args[i] = map[string]any{"type": "float", "value": x}
		case string:
			args[i] = map[string]any{"type": "text", "value": x}
		case []byte:
			args[i] = map[string]any{"type": "blob", "base64": base64.RawStdEncoding.EncodeToString(x)}
		default:
			return nil, fmt.Errorf("argument of type %T", a)
		}
	}
	return json.Marshal(map[string]any{"condition": s.Cond, "stmt": map[string]any{
		"sql": s.SQL, "sql_id": nil, "args": args, "named_args": []any{}, "want_rows": false, "replication_index": nil}})
}

// pipelineBody is the body of a batch request.
func pipelineBody(steps []step) ([]byte, error) {
	return json.Marshal(map[string]any{"baton": nil, "requests": []any{
		map[string]any{"type": "batch", "batch": map[string]any{"steps": steps, "replication_index": nil}}}})
}

// pipeline runs one batch on the reference server; every step must succeed, unless lenient.
func pipeline(ctx context.Context, hc *http.Client, addr string, steps []step, lenient bool) error {
	body, err := pipelineBody(steps)
	if err != nil {
		return err
	}
	return postPipeline(ctx, hc, addr, body, lenient)
}

func postPipeline(ctx context.Context, hc *http.Client, addr string, body []byte, lenient bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v2/pipeline", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var a struct {
		Results []struct {
			Type     string
			Error    json.RawMessage
			Response struct {
				Result struct {
					StepErrors []*struct{ Message string } `json:"step_errors"`
				}
			}
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil || resp.StatusCode != http.StatusOK || len(a.Results) != 1 || a.Results[0].Type != "ok" {
		return fmt.Errorf("pipeline: status %d: %.300s", resp.StatusCode, answer)
	}
	for _, e := range a.Results[0].Response.Result.StepErrors {
		if e != nil && !lenient {
			return fmt.Errorf("pipeline: %s", e.Message)
		}
	}
	return nil
}
