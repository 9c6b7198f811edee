package turso

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed is returned for messages that are not of the protocol.
var ErrMalformed = errors.New("turso: malformed message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// PullRequest asks for pages. A client that has nothing yet sends the zero
// value, whose encoding is empty.
type PullRequest struct {
	ServerRevision string // send pages as they were then
	ClientRevision string // send pages that have changed since
	WaitMS         uint32 // wait for as long for a change after ClientRevision
	Selector       []byte // a set of pages; empty: all
	Query          string // SQL that is to find its pages
}

// Fields of a PullRequest. The encoding (1) is raw whatever it says, clients
// fill in no pages of their own (6), and only pages are sent (8).
const (
	fieldServerRevision = 2
	fieldClientRevision = 3
	fieldWait           = 4
	fieldSelector       = 5
	fieldQuery          = 7
)

// DecodePullRequest decodes a body. It refers to the body's memory.
func DecodePullRequest(b []byte) (*PullRequest, error) {
	r := &PullRequest{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, malformed("tag")
		}
		b = b[n:]
		switch {
		case typ == protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil, malformed("field %d", num)
			}
			b = b[n:]
			switch num {
			case fieldServerRevision:
				r.ServerRevision = string(v)
			case fieldClientRevision:
				r.ClientRevision = string(v)
			case fieldSelector:
				r.Selector = v
			case fieldQuery:
				r.Query = string(v)
			}
		case typ == protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return nil, malformed("field %d", num)
			}
			b = b[n:]
			if num == fieldWait {
				r.WaitMS = uint32(min(v, 1<<31))
			}
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return nil, malformed("field %d", num)
			}
			b = b[n:]
		}
	}
	if len(r.ServerRevision) > maxRevision || len(r.ClientRevision) > maxRevision {
		return nil, malformed("a revision of more than %d bytes", maxRevision)
	}
	return r, nil
}

// maxRevision bounds the text of a revision, of whatever server it is.
const maxRevision = 1024
