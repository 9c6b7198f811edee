package turso

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Revision is what a client is told about where it stands, and tells again with
// its next request. It carries what lets the server recognise revisions of
// another history, and follow the pulls of one file.
type Revision struct {
	Seq  uint64  // of the newest commit
	Hash [8]byte // of that one
	// Line names the file: it is drawn with the first pages that a file gets.
	Line uint32
	// Gen counts the answers with pages that the file has got since. Its pushes
	// carry the same count. NoGen: it is not known.
	Gen uint64
}

// NoGen stands for an unknown count.
const NoGen = 1<<64 - 1

// String returns the revision's text.
func (r Revision) String() string {
	gen := "x"
	if r.Gen != NoGen {
		gen = strconv.FormatUint(r.Gen, 36)
	}
	return fmt.Sprintf("%x.%x.%x.%s", r.Seq, r.Hash, r.Line, gen)
}

// ParseRevision parses a revision's text. That of another server is none.
func ParseRevision(s string) (r Revision, ok bool) {
	p := strings.Split(s, ".")
	if len(p) != 4 {
		return r, false
	}
	seq, err := strconv.ParseUint(p[0], 16, 64)
	if err != nil {
		return r, false
	}
	hash, err := hex.DecodeString(p[1])
	if err != nil || len(hash) != len(r.Hash) {
		return r, false
	}
	line, err := strconv.ParseUint(p[2], 16, 32)
	if err != nil {
		return r, false
	}
	r = Revision{Seq: seq, Hash: [8]byte(hash), Line: uint32(line), Gen: NoGen}
	if p[3] != "x" {
		if r.Gen, err = strconv.ParseUint(p[3], 36, 62); err != nil {
			return r, false
		}
	}
	return r, r.String() == s
}
