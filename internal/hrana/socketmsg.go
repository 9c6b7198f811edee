package hrana

import (
	"bytes"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// socketKind is the kind of a request on a WebSocket; its number is that of its
// field in protobuf.
type socketKind uint8

const (
	socketOpenStream socketKind = iota + 2
	socketCloseStream
	socketExecute
	socketBatch
	socketOpenCursor
	socketCloseCursor
	socketFetchCursor
	socketSequence
	socketDescribe
	socketStoreSQL
	socketCloseSQL
	socketGetAutocommit
)

var socketKinds = map[string]socketKind{
	"open_stream": socketOpenStream, "close_stream": socketCloseStream, "execute": socketExecute, "batch": socketBatch,
	"open_cursor": socketOpenCursor, "close_cursor": socketCloseCursor, "fetch_cursor": socketFetchCursor, "sequence": socketSequence,
	"describe": socketDescribe, "store_sql": socketStoreSQL, "close_sql": socketCloseSQL, "get_autocommit": socketGetAutocommit,
}

// onStream is the kind of request that this is for a stream, 0 if it is none.
func (k socketKind) onStream() Kind {
	switch k {
	case socketExecute:
		return KindExecute
	case socketBatch:
		return KindBatch
	case socketSequence:
		return KindSequence
	case socketDescribe:
		return KindDescribe
	case socketGetAutocommit:
		return KindGetAutocommit
	}
	return 0
}

// socketMessage is a message of a client: a hello, or a request.
type socketMessage struct {
	hello bool
	token string

	id             int32
	kind           socketKind
	stream, cursor int32
	count          uint32 // of entries to fetch
	req            Request
	done           func() // when it was worked off
}

// The JSON forms.
type (
	jsonMessage struct {
		Type      string             `json:"type"`
		JWT       *string            `json:"jwt"`
		RequestID *int32             `json:"request_id"`
		Request   *jsonSocketRequest `json:"request"`
	}
	jsonSocketRequest struct {
		jsonRequest
		StreamID *int32  `json:"stream_id"`
		CursorID *int32  `json:"cursor_id"`
		MaxCount *uint32 `json:"max_count"`
	}
)

func decodeSocket(msg []byte) (*socketMessage, error) {
	var j jsonMessage
	if err := unmarshal(msg, &j); err != nil {
		return nil, err
	}
	m := &socketMessage{}
	switch {
	case j.Type == "hello":
		m.hello = true
		if j.JWT != nil {
			m.token = *j.JWT
		}
		return m, nil
	case j.Type != "request" || j.RequestID == nil || j.Request == nil:
		return nil, malformed("message of type %.30q", j.Type)
	}
	m.id = *j.RequestID
	return m, j.Request.decode(m)
}

func (j *jsonSocketRequest) decode(m *socketMessage) (err error) {
	m.kind = socketKinds[j.Type]
	needsStream, needsCursor := true, false
	switch m.kind {
	case 0:
		return malformed("request of type %.30q", j.Type)
	case socketStoreSQL, socketCloseSQL:
		needsStream = false
	case socketFetchCursor, socketCloseCursor:
		needsStream, needsCursor = false, true
	case socketOpenCursor:
		needsCursor = true
	}
	if needsStream && j.StreamID == nil || needsCursor && j.CursorID == nil {
		return malformed("%s without stream_id or cursor_id", j.Type)
	}
	m.stream, m.cursor, m.count = orZero(j.StreamID), orZero(j.CursorID), 1<<31
	if j.MaxCount != nil {
		m.count = *j.MaxCount
	}
	switch {
	case m.kind == socketOpenCursor && j.Batch == nil:
		return malformed("open_cursor without batch")
	case m.kind == socketOpenCursor:
		m.req.Batch, err = j.Batch.batch()
	case m.kind.onStream() != 0, m.kind == socketStoreSQL, m.kind == socketCloseSQL:
		m.req, err = j.request()
	}
	return err
}

func orZero(p *int32) int32 {
	if p == nil {
		return 0
	}
	return *p
}

func decodeSocketProto(msg []byte) (*socketMessage, error) {
	d, m := &protoDecoder{}, &socketMessage{}
	err := d.each(msg, func(f field) error {
		switch f.num {
		case 1:
			m.hello = true
			return d.each(f.data, func(f field) error {
				if f.num == 1 {
					m.token = string(f.data)
				}
				return nil
			})
		case 2:
			return d.each(f.data, func(f field) error {
				if f.num == 1 {
					m.id = int32(f.v)
					return nil
				}
				if f.num > protowire.Number(socketGetAutocommit) {
					return nil
				}
				m.kind = socketKind(f.num)
				return d.socketRequest(m, f.data)
			})
		}
		return nil
	})
	if err == nil && !m.hello && m.kind == 0 {
		err = malformed("a message of no known kind")
	}
	return m, err
}

// socketRequest decodes the message of a request. What is not there is zero.
func (d *protoDecoder) socketRequest(m *socketMessage, b []byte) (err error) {
	var sql sqlParts
	found := false // what is to be run
	err = d.each(b, func(f field) (err error) {
		switch {
		case m.kind == socketStoreSQL, m.kind == socketCloseSQL:
		case m.kind == socketCloseCursor && f.num == 1, m.kind == socketFetchCursor && f.num == 1, m.kind == socketOpenCursor && f.num == 2:
			m.cursor = int32(f.v)
		case m.kind == socketFetchCursor && f.num == 2:
			m.count = uint32(f.v)
		case f.num == 1:
			m.stream = int32(f.v)
		case m.kind == socketExecute && f.num == 2:
			found = true
			m.req.Batch.Steps = make([]Step, 1)
			m.req.Batch.Steps[0].Stmt, err = d.stmt(f.data)
		case m.kind == socketBatch && f.num == 2, m.kind == socketOpenCursor && f.num == 3:
			found = true
			m.req.Batch, err = d.batch(f.data)
		case m.kind == socketSequence, m.kind == socketDescribe:
			sql.take(f, 2, 3)
		}
		return err
	})
	if err != nil {
		return err
	}
	m.req.Kind = m.kind.onStream()
	switch m.kind {
	case socketExecute, socketBatch, socketOpenCursor:
		if !found {
			return malformed("a request without what it is to run")
		}
	case socketSequence, socketDescribe:
		m.req.SQL, err = sqlOf(sql.text, sql.id)
	case socketStoreSQL, socketCloseSQL:
		m.req.SQL, err = d.stored(b)
	}
	return err
}

// maxFetch bounds the bytes of entries in one message.
const maxFetch = 1 << 20

// socketCodec encodes messages of the server.
type socketCodec interface {
	welcome() []byte
	refusal(e *Error) []byte
	failure(id int32, e *Error) []byte
	done(id int32, kind socketKind) []byte // an answer that says no more
	answer(id int32, kind socketKind, a *answer) []byte
	// cut takes up to n entries from those of a cursor.
	cut(entries []byte, n uint32) (part, rest []byte)
	fetched(id int32, part []byte, done bool) []byte
}

// jsonSocket is the socketCodec of JSON.
type jsonSocket struct{}

func (jsonSocket) welcome() []byte { return []byte(`{"type":"hello_ok"}`) }

func (jsonSocket) refusal(e *Error) []byte {
	return append(appendError([]byte(`{"type":"hello_error","error":`), e), '}')
}

func (jsonSocket) failure(id int32, e *Error) []byte {
	b := strconv.AppendInt([]byte(`{"type":"response_error","request_id":`), int64(id), 10)
	return append(appendError(append(b, `,"error":`...), e), '}')
}

// response begins an answer.
func (jsonSocket) response(id int32) []byte {
	b := strconv.AppendInt([]byte(`{"type":"response_ok","request_id":`), int64(id), 10)
	return append(b, `,"response":`...)
}

func (c jsonSocket) done(id int32, kind socketKind) []byte {
	for name, k := range socketKinds {
		if k == kind {
			return append(c.response(id), `{"type":"`+name+`"}}`...)
		}
	}
	return nil
}

func (c jsonSocket) answer(id int32, _ socketKind, a *answer) []byte {
	return append(appendAnswer(c.response(id), a), '}')
}

func (jsonSocket) cut(entries []byte, n uint32) (part, rest []byte) {
	end := 0
	for ; n > 0 && end < len(entries) && end < maxFetch; n-- {
		end += bytes.IndexByte(entries[end:], '\n') + 1
	}
	return entries[:end], entries[end:]
}

func (c jsonSocket) fetched(id int32, part []byte, done bool) []byte {
	b := append(c.response(id), `{"type":"fetch_cursor","entries":[`...)
	b = append(b, bytes.ReplaceAll(bytes.TrimSuffix(part, []byte{'\n'}), []byte{'\n'}, []byte{','})...)
	b = append(b, `],"done":`...)
	return append(strconv.AppendBool(b, done), '}', '}')
}

// protoSocket is the socketCodec of protobuf.
type protoSocket struct{}

func (protoSocket) welcome() []byte { return appendMessage(nil, 1, nil) }

func (protoSocket) refusal(e *Error) []byte {
	return appendMessage(nil, 2, appendMessage(nil, 1, protoError(e)))
}

func (protoSocket) failure(id int32, e *Error) []byte {
	return appendMessage(nil, 4, appendMessage(appendNumber(nil, 1, uint64(id)), 2, protoError(e)))
}

func (protoSocket) response(id int32, kind socketKind, msg []byte) []byte {
	return appendMessage(nil, 3, appendMessage(appendNumber(nil, 1, uint64(id)), protowire.Number(kind), msg))
}

func (c protoSocket) done(id int32, kind socketKind) []byte { return c.response(id, kind, nil) }

func (c protoSocket) answer(id int32, kind socketKind, a *answer) []byte {
	return c.response(id, kind, protoBody(a))
}

// cut makes the entries fields of the answer at once.
func (protoSocket) cut(entries []byte, n uint32) (part, rest []byte) {
	for ; n > 0 && len(entries) > 0 && len(part) < maxFetch; n-- {
		entry, size := protowire.ConsumeBytes(entries)
		if size < 0 {
			break // they are our own
		}
		part, entries = appendMessage(part, 1, entry), entries[size:]
	}
	return part, entries
}

func (c protoSocket) fetched(id int32, part []byte, done bool) []byte {
	return c.response(id, socketFetchCursor, appendNumber(part, 2, protowire.EncodeBool(done)))
}
