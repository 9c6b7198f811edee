package hrana

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// The JSON forms. Keys that are not here are ignored, as the protocol asks.
type (
	jsonPipeline struct {
		Baton    *string       `json:"baton"`
		Requests []jsonRequest `json:"requests"`
	}
	jsonCursor struct {
		Baton *string    `json:"baton"`
		Batch *jsonBatch `json:"batch"`
	}
	jsonRequest struct {
		Type  string     `json:"type"`
		Stmt  *jsonStmt  `json:"stmt"`
		Batch *jsonBatch `json:"batch"`
		SQL   *string    `json:"sql"`
		SQLID *int32     `json:"sql_id"`
	}
	jsonStmt struct {
		SQL       *string        `json:"sql"`
		SQLID     *int32         `json:"sql_id"`
		Args      []sqlValue     `json:"args"`
		NamedArgs []jsonNamedArg `json:"named_args"`
		WantRows  *bool          `json:"want_rows"`
	}
	jsonNamedArg struct {
		Name  string   `json:"name"`
		Value sqlValue `json:"value"`
	}
	jsonBatch struct {
		Steps []jsonStep `json:"steps"`
	}
	jsonStep struct {
		Condition *jsonCond `json:"condition"`
		Stmt      jsonStmt  `json:"stmt"`
	}
	jsonCond struct {
		Type  string     `json:"type"`
		Step  *uint32    `json:"step"`
		Cond  *jsonCond  `json:"cond"`
		Conds []jsonCond `json:"conds"`
	}
)

// sqlValue is a value on its way in.
type sqlValue sqlite.Value

// UnmarshalJSON implements json.Unmarshaler. Integers are accepted as numbers
// too, and base64 with or without padding.
func (v *sqlValue) UnmarshalJSON(b []byte) error {
	var j struct {
		Type   string          `json:"type"`
		Value  json.RawMessage `json:"value"`
		Base64 *string         `json:"base64"`
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	switch j.Type {
	case "null":
		*v = sqlValue(sqlite.Null())
	case "integer":
		n, err := strconv.ParseInt(unquoted(j.Value), 10, 64)
		if err != nil {
			return malformed("integer %.30s", j.Value)
		}
		*v = sqlValue(sqlite.Int(n))
	case "float":
		f, err := strconv.ParseFloat(unquoted(j.Value), 64)
		if err != nil && f == 0 { // beyond the range it is an infinity
			return malformed("float %.30s", j.Value)
		}
		*v = sqlValue(sqlite.Real(f))
	case "text":
		var s *string
		if err := json.Unmarshal(j.Value, &s); err != nil || s == nil {
			return malformed("text %.30s", j.Value)
		}
		*v = sqlValue(sqlite.Text(*s))
	case "blob":
		if j.Base64 == nil {
			return malformed("a blob without base64")
		}
		data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(*j.Base64, "="))
		if err != nil {
			return malformed("base64 %.30q", *j.Base64)
		}
		*v = sqlValue(sqlite.Blob(data))
	default:
		return malformed("value of type %.30q", j.Type)
	}
	return nil
}

// unquoted returns the text of a JSON number, or that in a JSON string without
// escapes.
func unquoted(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }

// unmarshal decodes JSON.
func unmarshal(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if err == nil || errors.Is(err, ErrMalformed) { // a value's own error says it already
		return err
	}
	return malformed("%v", err)
}

// DecodePipeline decodes the JSON body of a pipeline.
func DecodePipeline(body []byte) (*PipelineRequest, error) {
	var j jsonPipeline
	if err := unmarshal(body, &j); err != nil {
		return nil, err
	}
	p := &PipelineRequest{Requests: make([]Request, len(j.Requests))}
	if j.Baton != nil {
		p.Baton = *j.Baton
	}
	for i := range j.Requests {
		r, err := j.Requests[i].request()
		if err != nil {
			return nil, err
		}
		p.Requests[i] = r
	}
	return p, nil
}

// DecodeCursor decodes the JSON body of a cursor.
func DecodeCursor(body []byte) (*CursorRequest, error) {
	var j jsonCursor
	if err := unmarshal(body, &j); err != nil {
		return nil, err
	}
	if j.Batch == nil {
		return nil, malformed("a cursor without a batch")
	}
	c := &CursorRequest{}
	if j.Baton != nil {
		c.Baton = *j.Baton
	}
	var err error
	c.Batch, err = j.Batch.batch()
	return c, err
}

func (j *jsonRequest) request() (r Request, err error) {
	switch j.Type {
	case "close":
		r.Kind = KindClose
	case "get_autocommit":
		r.Kind = KindGetAutocommit
	case "execute":
		if r.Kind = KindExecute; j.Stmt == nil {
			return r, malformed("execute without stmt")
		}
		r.Batch.Steps = make([]Step, 1)
		r.Batch.Steps[0].Stmt, err = j.Stmt.stmt()
	case "batch":
		if r.Kind = KindBatch; j.Batch == nil {
			return r, malformed("batch without batch")
		}
		r.Batch, err = j.Batch.batch()
	case "sequence":
		r.Kind = KindSequence
		r.SQL, err = sqlOf(j.SQL, j.SQLID)
	case "describe":
		r.Kind = KindDescribe
		r.SQL, err = sqlOf(j.SQL, j.SQLID)
	case "store_sql":
		if r.Kind = KindStoreSQL; j.SQL == nil || j.SQLID == nil {
			return r, malformed("store_sql without sql or sql_id")
		}
		r.SQL = SQL{Text: *j.SQL, ID: *j.SQLID, Stored: true}
	case "close_sql":
		if r.Kind = KindCloseSQL; j.SQLID == nil {
			return r, malformed("close_sql without sql_id")
		}
		r.SQL = SQL{ID: *j.SQLID, Stored: true}
	default:
		return r, malformed("request of type %.30q", j.Type)
	}
	return r, err
}

func sqlOf(text *string, id *int32) (SQL, error) {
	switch {
	case text != nil && id == nil:
		return SQL{Text: *text}, nil
	case id != nil && text == nil:
		return SQL{ID: *id, Stored: true}, nil
	}
	return SQL{}, malformed("there must be either sql or sql_id")
}

func (j *jsonStmt) stmt() (Stmt, error) {
	text, err := sqlOf(j.SQL, j.SQLID)
	s := Stmt{SQL: text, WantRows: j.WantRows == nil || *j.WantRows}
	if len(j.Args) > 0 {
		s.Args = make([]sqlite.Value, len(j.Args))
		for i, v := range j.Args {
			s.Args[i] = sqlite.Value(v)
		}
	}
	for _, a := range j.NamedArgs {
		s.Named = append(s.Named, tenant.NamedArg{Name: a.Name, Value: sqlite.Value(a.Value)})
	}
	return s, err
}

func (j *jsonBatch) batch() (b Batch, err error) {
	b.Steps = make([]Step, len(j.Steps))
	for i := range j.Steps {
		if b.Steps[i].Stmt, err = j.Steps[i].Stmt.stmt(); err != nil {
			return b, err
		}
		if c := j.Steps[i].Condition; c != nil {
			cond, err := c.cond(i, 1)
			if err != nil {
				return b, err
			}
			b.Steps[i].Cond = &cond
		}
	}
	return b, nil
}

// cond converts a condition of a step, which may speak of those before it only.
func (j *jsonCond) cond(step, depth int) (c Cond, err error) {
	if depth > maxCondDepth {
		return c, malformed("conditions nested deeper than %d", maxCondDepth)
	}
	sub := j.Conds
	switch j.Type {
	case "ok", "error":
		if c.Kind = CondOK; j.Type == "error" {
			c.Kind = CondError
		}
		if j.Step == nil || int64(*j.Step) >= int64(step) {
			return c, malformed("a condition of step %d on a step that doesn't come before it", step)
		}
		c.Step = *j.Step
		return c, nil
	case "is_autocommit":
		return Cond{Kind: CondAutocommit}, nil
	case "not":
		if c.Kind = CondNot; j.Cond == nil {
			return c, malformed("not without cond")
		}
		sub = []jsonCond{*j.Cond}
	case "and":
		c.Kind = CondAnd
	case "or":
		c.Kind = CondOr
	default:
		return c, malformed("condition of type %.30q", j.Type)
	}
	c.Sub = make([]Cond, len(sub))
	for i := range sub {
		if c.Sub[i], err = sub[i].cond(step, depth+1); err != nil {
			return c, err
		}
	}
	return c, nil
}
