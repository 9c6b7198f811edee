package hrana

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func TestDecodePipeline(t *testing.T) {
	p, err := DecodePipeline([]byte(`{"baton":null,"requests":[
		{"type":"execute","stmt":{"sql":"SELECT ?","args":[{"type":"integer","value":"9007199254740993"},{"type":"float","value":-0.5}],"want_rows":false,"replication_index":null}},
		{"type":"sequence","sql_id":3},{"type":"unheard-of-keys-are-fine","type":"close","x":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := p.Requests[0].Batch.Steps[0].Stmt
	if s.WantRows || len(s.Args) != 2 || !s.Args[0].Equal(sqlite.Int(9007199254740993)) || !s.Args[1].Equal(sqlite.Real(-0.5)) {
		t.Errorf("%+v", s)
	}
	if q := p.Requests[1].SQL; !q.Stored || q.ID != 3 || p.Requests[2].Kind != KindClose {
		t.Errorf("%+v", p.Requests)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, body := range []string{
		``, `[]`, `{`, `{"requests":{}}`, `{"requests":[{}]}`, `{"requests":[{"type":"nope"}]}`, `{"baton":7}`,
		`{"requests":[{"type":"execute"}]}`, `{"requests":[{"type":"execute","stmt":{}}]}`, `{"requests":[{"type":"batch"}]}`,
		`{"requests":[{"type":"execute","stmt":{"sql":"x","sql_id":1}}]}`,
		`{"requests":[{"type":"sequence"}]}`, `{"requests":[{"type":"store_sql","sql":"x"}]}`, `{"requests":[{"type":"close_sql"}]}`,
		`{"requests":[{"type":"close_sql","sql_id":99999999999}]}`,
		arg(`{}`), arg(`{"type":"integer"}`), arg(`{"type":"integer","value":"1.5"}`), arg(`{"type":"integer","value":"9223372036854775808"}`),
		arg(`{"type":"float","value":null}`), arg(`{"type":"float","value":"x"}`), arg(`{"type":"text","value":1}`), arg(`{"type":"text","value":null}`),
		arg(`{"type":"text"}`), arg(`{"type":"blob"}`), arg(`{"type":"blob","base64":"!"}`), arg(`{"type":"blob","base64":"A"}`), arg(`{"type":"what"}`),
	} {
		if _, err := DecodePipeline([]byte(body)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", body, err)
		} else if n := strings.Count(err.Error(), "malformed"); n != 1 {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func arg(v string) string {
	return `{"requests":[{"type":"execute","stmt":{"sql":"SELECT ?","args":[` + v + `]}}]}`
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(arg(`{"type":"blob","base64":"AAE="}`)))
	f.Add([]byte(`{"baton":"x","batch":{"steps":[{"stmt":{"sql":"a"}},{"stmt":{"sql":"b","named_args":[{"name":":a","value":{"type":"null"}}]},` +
		`"condition":{"type":"and","conds":[{"type":"ok","step":0},{"type":"not","cond":{"type":"is_autocommit"}}]}}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := DecodePipeline(body); err != nil && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
		c, err := DecodeCursor(body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			return
		}
		done := make([]outcome, len(c.Batch.Steps))
		for i := range c.Batch.Steps {
			if cond := c.Batch.Steps[i].Cond; cond != nil {
				cond.holds(done[:i], true) // must not look further
			}
		}
	})
}

func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a\"\\\n\r\t\x00\x1f\x7f", "é😀\u2028", "\xff\xc3(\xf0\x9f\x98", "a\ufffdb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		var got string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if want := strings.ToValidUTF8(eachInvalid(s), "\ufffd"); got != want {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
		if string(appendString(nil, []byte(s))) != string(b) {
			t.Error("bytes differ")
		}
	})
}

// eachInvalid replaces every byte that is no UTF-8 by itself, as JSON encoders
// do: strings.ToValidUTF8 replaces runs of them.
func eachInvalid(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

// protoMsg appends a message as a field.
func protoMsg(b []byte, num protowire.Number, msg []byte) []byte { return appendMessage(b, num, msg) }

func protoStmt(sql string, args ...[]byte) []byte {
	b := appendText(nil, 1, sql)
	for _, a := range args {
		b = protoMsg(b, 3, a)
	}
	return b
}

func TestDecodeProto(t *testing.T) {
	stmt := protoStmt("SELECT ?", appendNumber(nil, 2, protowire.EncodeZigZag(-7)), protoMsg(nil, 5, []byte{0, 1}), protoMsg(nil, 1, nil))
	cond := protoMsg(nil, 3, protoMsg(nil, 6, nil)) // not autocommit
	step := protoMsg(protoMsg(nil, 1, cond), 2, appendNumber(stmt, 5, 0))
	body := appendText(nil, 1, "baton")
	body = protoMsg(body, 2, protoMsg(nil, 3, protoMsg(nil, 1, protoMsg(nil, 1, step))))
	body = protoMsg(body, 2, protoMsg(nil, 5, appendNumber(nil, 2, 3)))
	p, err := DecodePipelineProto(protoMsg(body, 99, []byte("of the future")))
	if err != nil {
		t.Fatal(err)
	}
	s := p.Requests[0].Batch.Steps[0]
	if p.Baton != "baton" || s.Stmt.WantRows || s.Cond.Kind != CondNot || s.Cond.Sub[0].Kind != CondAutocommit || len(s.Stmt.Args) != 3 ||
		!s.Stmt.Args[0].Equal(sqlite.Int(-7)) || !s.Stmt.Args[1].Equal(sqlite.Blob([]byte{0, 1})) || !s.Stmt.Args[2].IsNull() {
		t.Errorf("%+v", p.Requests[0])
	}
	if r := p.Requests[1]; r.Kind != KindDescribe || !r.SQL.Stored || r.SQL.ID != 3 {
		t.Errorf("%+v", r)
	}
	deep := protoMsg(nil, 6, nil)
	for range 40 {
		deep = protoMsg(nil, 3, deep)
	}
	for _, bad := range [][]byte{
		{0xff},
		{0x0a, 5},
		protoMsg(nil, 2, nil), protoMsg(nil, 2, protoMsg(nil, 9, nil)),
		protoMsg(nil, 2, protoMsg(nil, 2, nil)), protoMsg(nil, 2, protoMsg(nil, 2, protoMsg(nil, 1, nil))),
		protoMsg(nil, 2, protoMsg(nil, 3, protoMsg(nil, 1, protoMsg(nil, 1, protoMsg(protoMsg(nil, 2, stmt), 1, deep))))),
		protoMsg(nil, 2, protoMsg(nil, 3, protoMsg(nil, 1, protoMsg(nil, 1, protoMsg(protoMsg(nil, 2, stmt), 1, appendNumber(nil, 1, 0)))))),
		bytes.Repeat([]byte{0x12, 2, 0x0a, 0}, MaxParts+1),
	} {
		if _, err := DecodePipelineProto(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.40x: %v", bad, err)
		}
	}
}

func FuzzDecodeProto(f *testing.F) {
	f.Add(protoMsg(nil, 2, protoMsg(nil, 2, protoMsg(nil, 1, protoStmt("a", appendNumber(nil, 2, 7))))))
	f.Add(protoMsg(nil, 2, protoMsg(nil, 1, protoMsg(protoMsg(nil, 1, protoMsg(nil, 6, nil)), 2, protoStmt("b")))))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := DecodePipelineProto(body); err != nil && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
		c, err := DecodeCursorProto(body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			return
		}
		done := make([]outcome, len(c.Batch.Steps))
		for i := range c.Batch.Steps {
			if cond := c.Batch.Steps[i].Cond; cond != nil {
				cond.holds(done[:i], true) // must not look further
			}
		}
	})
}
