package hrana

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

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
