package hrana

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// MaxParts bounds the messages within one in protobuf: an empty one has two
// bytes on the wire, and takes a hundred times as much in memory.
const MaxParts = 1_000_000

// protoDecoder decodes the protobuf forms of requests. Their field numbers are
// those of Hrana's hrana.proto and hrana.http.proto.
type protoDecoder struct{ parts int }

// field is a field of a message: a number, or bytes.
type field struct {
	num  protowire.Number
	v    uint64
	data []byte
}

// each calls fn for every field of a message. Those of unknown types are
// skipped.
func (d *protoDecoder) each(b []byte, fn func(field) error) error {
	if d.parts++; d.parts > MaxParts {
		return malformed("more than %d parts", MaxParts)
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed("%v", protowire.ParseError(n))
		}
		b = b[n:]
		f := field{num: num}
		switch typ {
		case protowire.VarintType:
			f.v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			if f.data, n = protowire.ConsumeBytes(b); f.data == nil {
				f.data = []byte{}
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
			f.num = 0
		}
		if n < 0 {
			return malformed("%v", protowire.ParseError(n))
		}
		b = b[n:]
		if f.num == 0 {
			continue
		}
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

// DecodePipelineProto decodes the protobuf body of a pipeline.
func DecodePipelineProto(body []byte) (*PipelineRequest, error) {
	d, p := &protoDecoder{}, &PipelineRequest{}
	return p, d.each(body, func(f field) error {
		switch f.num {
		case 1:
			p.Baton = string(f.data)
		case 2:
			r, err := d.request(f.data)
			if err != nil {
				return err
			}
			p.Requests = append(p.Requests, r)
		}
		return nil
	})
}

// DecodeCursorProto decodes the protobuf body of a cursor.
func DecodeCursorProto(body []byte) (*CursorRequest, error) {
	d, c := &protoDecoder{}, &CursorRequest{}
	return c, d.each(body, func(f field) (err error) {
		switch f.num {
		case 1:
			c.Baton = string(f.data)
		case 2:
			c.Batch, err = d.batch(f.data)
		}
		return err
	})
}

func (d *protoDecoder) request(b []byte) (r Request, err error) {
	err = d.each(b, func(f field) (err error) {
		if f.num > protowire.Number(KindGetAutocommit) {
			return nil
		}
		r = Request{Kind: Kind(f.num)}
		switch r.Kind {
		case KindExecute:
			r.Batch.Steps = make([]Step, 1)
			r.Batch.Steps[0].Stmt, err = d.onlyStmt(f.data)
		case KindBatch:
			err = d.each(f.data, func(f field) (err error) {
				if f.num == 1 {
					r.Batch, err = d.batch(f.data)
				}
				return err
			})
		case KindSequence, KindDescribe:
			r.SQL, err = d.sql(f.data, 1, 2)
		case KindStoreSQL, KindCloseSQL:
			r.SQL, err = d.stored(f.data)
		}
		return err
	})
	if err == nil && r.Kind == 0 {
		return r, malformed("a request of no known kind")
	}
	return r, err
}

func (d *protoDecoder) onlyStmt(b []byte) (s Stmt, err error) {
	found := false
	err = d.each(b, func(f field) (err error) {
		if f.num == 1 {
			found = true
			s, err = d.stmt(f.data)
		}
		return err
	})
	if err == nil && !found {
		err = malformed("execute without stmt")
	}
	return s, err
}

// sql reads a text or the number of one, from the fields with these numbers.
func (d *protoDecoder) sql(b []byte, text, id protowire.Number) (SQL, error) {
	var p sqlParts
	err := d.each(b, func(f field) error {
		p.take(f, text, id)
		return nil
	})
	if err != nil {
		return SQL{}, err
	}
	return sqlOf(p.text, p.id)
}

// sqlParts are the two ways to give SQL.
type sqlParts struct {
	text *string
	id   *int32
}

func (p *sqlParts) take(f field, text, id protowire.Number) {
	switch f.num {
	case text:
		s := string(f.data)
		p.text = &s
	case id:
		n := int32(f.v)
		p.id = &n
	}
}

// stored reads a store_sql or close_sql, in which what is not there is zero.
func (d *protoDecoder) stored(b []byte) (SQL, error) {
	q := SQL{Stored: true}
	return q, d.each(b, func(f field) error {
		switch f.num {
		case 1:
			q.ID = int32(f.v)
		case 2:
			q.Text = string(f.data)
		}
		return nil
	})
}

func (d *protoDecoder) stmt(b []byte) (Stmt, error) {
	s := Stmt{WantRows: true}
	var p sqlParts
	err := d.each(b, func(f field) error {
		p.take(f, 1, 2)
		switch f.num {
		case 3:
			v, err := d.value(f.data)
			s.Args = append(s.Args, v)
			return err
		case 4:
			a := tenant.NamedArg{}
			err := d.each(f.data, func(f field) (err error) {
				switch f.num {
				case 1:
					a.Name = string(f.data)
				case 2:
					a.Value, err = d.value(f.data)
				}
				return err
			})
			s.Named = append(s.Named, a)
			return err
		case 5:
			s.WantRows = f.v != 0
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	s.SQL, err = sqlOf(p.text, p.id)
	return s, err
}

func (d *protoDecoder) value(b []byte) (v sqlite.Value, err error) {
	err = d.each(b, func(f field) error {
		switch f.num {
		case 1:
			v = sqlite.Null()
		case 2:
			v = sqlite.Int(protowire.DecodeZigZag(f.v))
		case 3:
			v = sqlite.Real(math.Float64frombits(f.v))
		case 4:
			v = sqlite.TextBytes(f.data)
		case 5:
			v = sqlite.Blob(f.data)
		}
		return nil
	})
	return v, err
}

func (d *protoDecoder) batch(b []byte) (Batch, error) {
	var out Batch
	err := d.each(b, func(f field) error {
		if f.num != 1 {
			return nil
		}
		var s Step
		found := false
		err := d.each(f.data, func(g field) (err error) {
			switch g.num {
			case 1:
				var c Cond
				c, err = d.cond(g.data, len(out.Steps), 1)
				s.Cond = &c
			case 2:
				found = true
				s.Stmt, err = d.stmt(g.data)
			}
			return err
		})
		if err == nil && !found {
			err = malformed("a step without stmt")
		}
		out.Steps = append(out.Steps, s)
		return err
	})
	return out, err
}

// cond decodes a condition of a step, which may speak of those before it only.
func (d *protoDecoder) cond(b []byte, step, depth int) (c Cond, err error) {
	if depth > maxCondDepth {
		return c, malformed("conditions nested deeper than %d", maxCondDepth)
	}
	err = d.each(b, func(f field) (err error) {
		if f.num > protowire.Number(CondAutocommit) {
			return nil
		}
		c = Cond{Kind: CondKind(f.num)}
		switch c.Kind {
		case CondOK, CondError:
			if f.v >= uint64(step) {
				return malformed("a condition of step %d on a step that doesn't come before it", step)
			}
			c.Step = uint32(f.v)
		case CondNot:
			c.Sub = make([]Cond, 1)
			c.Sub[0], err = d.cond(f.data, step, depth+1)
		case CondAnd, CondOr:
			err = d.each(f.data, func(f field) error {
				if f.num != 1 {
					return nil
				}
				sub, err := d.cond(f.data, step, depth+1)
				c.Sub = append(c.Sub, sub)
				return err
			})
		}
		return err
	})
	if err == nil && c.Kind == 0 {
		return c, malformed("a condition of no known kind")
	}
	return c, err
}
