package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const testLimit = 1 << 20

// noise returns bytes that don't compress, the same ones each time.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func prose(n int) []byte { return []byte(strings.Repeat("the same again, ", n/16+1)[:n]) }

var testRevision = Revision{Seq: 1 << 40, Hash: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}

// requests are a request of each kind.
func requests() map[string]*Request {
	id := ReplicaID(noise(16))
	return map[string]*Request{
		"zero":     {},
		"pull":     {Replica: id, Mode: ModePull, Base: testRevision, First: 7, Chain: math.MaxUint64, WaitMS: 50_000},
		"snapshot": {Replica: id, Mode: ModePull | ModeSnapshot, First: 1},
		"push": {Replica: id, First: 3, Chain: 9, Changes: []Change{
			{Nonce: 1, Effects: 2, Body: []byte("x")}, {Nonce: math.MaxUint64}, {Nonce: 5, Body: noise(40)},
		}},
		"strict":     {Replica: id, Mode: ModePull, First: 1, Strict: &Strict{Nonce: [16]byte(noise(16)), Body: noise(30)}},
		"all":        {Replica: id, Mode: ModePull, Base: testRevision, First: 1, Changes: []Change{{Body: noise(9)}}, Strict: &Strict{}},
		"compressed": {Replica: id, First: 1, Changes: []Change{{Nonce: 1, Effects: 2, Body: prose(700)}}},
		"noise":      {Replica: id, First: 1, Changes: []Change{{Nonce: 1, Effects: 2, Body: noise(300)}}},
	}
}

// responses are an answer of each kind.
func responses() map[string]*Response {
	return map[string]*Response{
		"zero":     {},
		"ack":      {Head: testRevision, Last: 12, LastChain: math.MaxUint64},
		"fork":     {Status: StatusFork, Head: testRevision, Last: 12, LastChain: 1, ForkAt: 8},
		"behind":   {Status: StatusBehind, Head: Revision{Seq: 1, Hash: [8]byte{9}}, Last: 2},
		"snapshot": {Status: StatusSnapshot, Head: testRevision, Pages: maxPages},
		"strict":   {Head: testRevision, Strict: StrictResult{Code: StrictRejected, Reason: "row 1 of t"}},
		"applied":  {Head: testRevision, Strict: StrictResult{Code: StrictApplied}},
		"results": {Head: testRevision, Last: 4, Results: []Result{
			{ID: 3, Ops: []OpResult{{Index: 0, Code: OpNewID, NewID: math.MinInt64}, {Index: 300, Code: OpMerged}}},
			{ID: 4, Ops: []OpResult{{Code: OpRejected}, {Index: 1, Code: OpNoop}, {Index: 2, Code: OpApplied}}},
			{ID: math.MaxUint64},
		}},
		"commits": {Head: testRevision, Commits: []Commit{
			{Body: []byte("effects")},
			{OwnFirst: 1, OwnLast: 1, Same: true},
			{OwnFirst: 2, OwnLast: 900, Body: noise(20)},
			{},
			{OwnFirst: 901, OwnLast: 902, Strict: 3, Body: noise(20)},
		}},
		"compressed": {Head: testRevision, Commits: []Commit{{Body: prose(2000)}, {Body: prose(10)}}},
		"noise":      {Head: testRevision, Commits: []Commit{{Body: noise(500)}}},
	}
}

// message is an encoded message, and how to decode it again.
type message struct {
	name   string
	bytes  []byte
	decode func([]byte) (any, error)
	want   any
}

// messages are one of each.
func messages() []message {
	var list []message
	for name, m := range requests() {
		list = append(list, message{"request/" + name, m.Append(nil), func(b []byte) (any, error) { return DecodeRequest(b, testLimit) }, m})
	}
	for name, m := range responses() {
		list = append(list, message{"response/" + name, m.Append(nil), func(b []byte) (any, error) { return DecodeResponse(b, testLimit) }, m})
	}
	for name, data := range map[string][]byte{"one": noise(PageSize), "two": prose(2 * PageSize)} {
		list = append(list, message{"pages/" + name, AppendPages(nil, 3, data), decodePages, chunk{3, data}})
	}
	return list
}

type chunk struct {
	First uint32
	Data  []byte
}

func decodePages(b []byte) (any, error) {
	first, data, err := DecodePages(nil, b)
	return chunk{first, data}, err
}

// TestPagesUnread: what can be said of a chunk without decoding it.
func TestPagesUnread(t *testing.T) {
	for _, n := range []int{1, 2, ChunkPages} {
		msg := AppendPages(nil, 1<<32-200, prose(n*PageSize))
		if got := ClaimedPages(msg); got != uint32(n) {
			t.Errorf("a chunk of %d pages claims %d", n, got)
		}
		if !Intact(msg) {
			t.Error("a chunk is damaged")
		}
		for i := range 64 {
			bad := bytes.Clone(msg)
			bad[i*len(bad)/64] ^= 1
			if Intact(bad) || Intact(msg[:i*len(msg)/64]) {
				t.Errorf("damage in part %d of 64 is not seen", i)
			}
		}
	}
	for _, msg := range [][]byte{nil, []byte("aP"), {'a', 'P', 1, 0, 255, 255, 255, 255, 255}, forge(kindPages, Version, 0, 1<<40, nil)} {
		if n := ClaimedPages(msg); n != 0 {
			t.Errorf("%x claims %d pages", msg, n)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, m := range messages() {
		t.Run(m.name, func(t *testing.T) {
			got, err := m.decode(m.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(m.want, got, cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			// Zero values are what is sent for nothing: they must stay so.
			if sealed := m.bytes[3]&flagZstd != 0; sealed != (strings.HasSuffix(m.name, "compressed") || m.name == "pages/two") {
				t.Errorf("compressed: %v", sealed)
			}
		})
	}
}

// TestTruncated cuts every message at every length.
func TestTruncated(t *testing.T) {
	for _, m := range messages() {
		for n := range m.bytes {
			if got, err := m.decode(m.bytes[:n:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s cut to %d of %d bytes: %v, %v", m.name, n, len(m.bytes), got, err)
			}
		}
		if _, err := m.decode(append(bytes.Clone(m.bytes), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte more: %v", m.name, err)
		}
	}
}

// TestFlipped changes every single byte of every message.
func TestFlipped(t *testing.T) {
	for _, m := range messages() {
		b := bytes.Clone(m.bytes)
		for i := range b {
			for _, mask := range []byte{1, 0x80, 0xff} {
				b[i] ^= mask
				if got, err := m.decode(b); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
					t.Fatalf("%s with byte %d changed by %#x: %v, %v", m.name, i, mask, got, err)
				}
				b[i] ^= mask
			}
		}
	}
}

// TestOtherKind feeds every message to the decoders of the other kinds.
func TestOtherKind(t *testing.T) {
	for _, m := range messages() {
		kind, _, _ := strings.Cut(m.name, "/")
		for other, decode := range map[string]func([]byte) (any, error){
			"request":  func(b []byte) (any, error) { return DecodeRequest(b, testLimit) },
			"response": func(b []byte) (any, error) { return DecodeResponse(b, testLimit) },
			"pages":    decodePages,
		} {
			if _, err := decode(m.bytes); other != kind && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s as %s: %v", m.name, other, err)
			}
		}
	}
}

// forge puts a body into an envelope as it is: what the checksum can't tell,
// the decoders must.
func forge(k kind, version, flags byte, size uint64, body []byte) []byte {
	b := binary.AppendUvarint([]byte{'a', byte(k), version, flags}, size)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b))
}

// TestForgedTruncated cuts the bodies of messages, with a good checksum.
func TestForgedTruncated(t *testing.T) {
	for _, m := range messages() {
		body, err := open(m.bytes, kind(m.bytes[1]), testLimit)
		if err != nil {
			t.Fatal(err)
		}
		for n := range body {
			if m.bytes[1] == byte(kindPages) && n != 0 && n%PageSize == 1 {
				continue // whole pages are a chunk
			}
			if got, err := m.decode(forge(kind(m.bytes[1]), Version, 0, uint64(n), body[:n])); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s with a body of %d of %d bytes: %v, %v", m.name, n, len(body), got, err)
			}
		}
		long := append(bytes.Clone(body), 0)
		if _, err := m.decode(forge(kind(m.bytes[1]), Version, 0, uint64(len(long)), long)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a longer body: %v", m.name, err)
		}
	}
}

func TestEnvelope(t *testing.T) {
	body := (&Request{First: 1}).Append(nil)
	body, err := open(body, kindRequest, testLimit)
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(len(body))
	for name, c := range map[string]struct {
		msg  []byte
		want error
	}{
		"good":                 {forge(kindRequest, Version, 0, n, body), nil},
		"version 0":            {forge(kindRequest, 0, 0, n, body), ErrVersion},
		"next version":         {forge(kindRequest, Version+1, 0, n, body), ErrVersion},
		"longer than said":     {forge(kindRequest, Version, 0, n-1, body), ErrMalformed},
		"shorter than said":    {forge(kindRequest, Version, 0, n+1, body), ErrMalformed},
		"above the limit":      {forge(kindRequest, Version, 0, testLimit+1, body), ErrTooLarge},
		"far above":            {forge(kindRequest, Version, 0, math.MaxUint64, body), ErrTooLarge},
		"no zstd":              {forge(kindRequest, Version, flagZstd, n, body), ErrMalformed},
		"zstd, other size":     {forge(kindRequest, Version, flagZstd, n+1, encoder().EncodeAll(body, nil)), ErrMalformed},
		"zstd, nothing":        {forge(kindRequest, Version, flagZstd, 0, nil), ErrMalformed},
		"zstd, good":           {forge(kindRequest, Version, flagZstd, n, encoder().EncodeAll(body, nil)), nil},
		"zstd, two frames":     {forge(kindRequest, Version, flagZstd, n, encoder().EncodeAll(body, encoder().EncodeAll(body, nil))), ErrMalformed},
		"unending length":      {forge(kindRequest, Version, 0, math.MaxUint64, bytes.Repeat([]byte{0xff}, 40)), ErrTooLarge},
		"empty":                {nil, ErrMalformed},
		"check without a body": {forge(kindRequest, Version, 0, 0, nil), ErrMalformed},
	} {
		if _, err := DecodeRequest(c.msg, testLimit); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestBadFields changes single fields to what no side sends.
func TestBadFields(t *testing.T) {
	request := func(b []byte) error {
		_, err := DecodeRequest(forge(kindRequest, Version, 0, uint64(len(b)), b), testLimit)
		return err
	}
	response := func(b []byte) error {
		_, err := DecodeResponse(forge(kindResponse, Version, 0, uint64(len(b)), b), testLimit)
		return err
	}
	pages := func(b []byte) error {
		_, _, err := DecodePages(nil, forge(kindPages, Version, 0, uint64(len(b)), b))
		return err
	}
	head := append(noise(16), 0, 0, 0) // replica, mode, base, wait
	// status, head, last, chain, fork, strict, reason
	ack := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, err := range map[string]error{
		"changes without a number":    request(cat(head, []byte{0}, make([]byte, 8), []byte{1}, make([]byte, 17), []byte{0})),
		"more changes than bytes":     request(cat(head, []byte{1}, make([]byte, 8), []byte{2}, make([]byte, 17), []byte{0})),
		"an unheard number of them":   request(cat(head, []byte{1}, make([]byte, 8), bytes.Repeat([]byte{0xff}, 9), []byte{1, 0})),
		"an unknown mode":             request(cat(noise(16), []byte{8, 0, 0, 1}, make([]byte, 8), []byte{0, 0})),
		"strict is 2":                 request(cat(head, []byte{1}, make([]byte, 8), []byte{0, 2})),
		"status 4":                    response(cat([]byte{4}, ack[1:], []byte{0, 0, 0})),
		"strict code 3":               response(cat(ack[:12], []byte{3, 0}, []byte{0, 0, 0})),
		"too many pages":              response(cat(ack, binary.AppendUvarint(nil, maxPages+1), []byte{0, 0})),
		"operation code 5":            response(cat(ack, []byte{0, 1, 1, 1, 0, 5, 0})),
		"more results than bytes":     response(cat(ack, []byte{0, 9, 1, 0, 0})),
		"commit flags 4":              response(cat(ack, []byte{0, 0, 1, 4, 0})),
		"same, but not one's own":     response(cat(ack, []byte{0, 0, 1, 2})),
		"commit flags 8":              response(cat(ack, []byte{0, 0, 1, 9, 1, 0, 0})),
		"same and strict":             response(cat(ack, []byte{0, 0, 1, 7, 1, 0, 1, 1, 1})),
		"strict, but not one's own":   response(cat(ack, []byte{0, 0, 1, 4, 1, 1, 1})),
		"no events of a strict one":   response(cat(ack, []byte{0, 0, 1, 5, 1, 0, 0, 1, 1})),
		"own change 0":                response(cat(ack, []byte{0, 0, 1, 3, 0, 0})),
		"a range that runs over":      response(cat(ack, []byte{0, 0, 1, 3, 2}, binary.AppendUvarint(nil, math.MaxUint64))),
		"page 0":                      pages(cat([]byte{0}, make([]byte, PageSize))),
		"a page beyond SQLite's last": pages(cat(binary.AppendUvarint(nil, maxPages+1), make([]byte, PageSize))),
		"no page":                     pages([]byte{1}),
		"half a page":                 pages(cat([]byte{1}, make([]byte, PageSize/2))),
	} {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := pages(cat([]byte{1}, make([]byte, (ChunkPages+1)*PageSize))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a chunk of too many pages: %v", err)
	}
	many := bytes.Repeat([]byte{0}, 4<<20)
	for name, b := range map[string][]byte{
		"commits": cat(ack, []byte{0, 0}, binary.AppendUvarint(nil, 2<<20), many), "results": cat(ack, []byte{0}, binary.AppendUvarint(nil, 2<<20), many, []byte{0}),
		"operations": cat(ack, []byte{0, 1, 1}, binary.AppendUvarint(nil, 2<<20), many, []byte{0}),
	} {
		msg := forge(kindResponse, Version, 0, uint64(len(b)), b)
		var err error
		if n := allocated(func() { _, err = DecodeResponse(msg, 1<<30) }); n > 20*uint64(len(b)) || name == "commits" && !errors.Is(err, ErrTooLarge) {
			t.Errorf("empty %s: %d bytes were allocated for %d, %v", name, n, len(b), err)
		}
	}
	if err := response(cat(ack, []byte{0, 0, 0})); err != nil {
		t.Errorf("the control: %v", err)
	}
}

func TestFrames(t *testing.T) {
	var stream []byte
	msgs := [][]byte{{}, []byte("x"), noise(200_000), noise(127), noise(128)}
	for _, m := range msgs {
		stream = AppendFrame(stream, m)
	}
	r := bufio.NewReader(bytes.NewReader(stream))
	var buf []byte
	var err error
	for i, m := range msgs {
		if buf, err = ReadFrame(r, buf, 200_000); err != nil || !bytes.Equal(buf, m) {
			t.Fatalf("frame %d: %d bytes, %v", i, len(buf), err)
		}
	}
	if _, err := ReadFrame(r, buf, 10); !errors.Is(err, ErrMalformed) || !errors.Is(err, io.EOF) {
		t.Errorf("after the last frame: %v", err)
	}
	frame := AppendFrame(nil, noise(300))
	for n := range frame {
		if _, err := ReadFrame(bytes.NewReader(frame[:n]), nil, 300); !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := ReadFrame(bytes.NewReader(frame), nil, 299); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the limit: %v", err)
	}
	huge := binary.AppendUvarint(nil, maxFrame+1)
	if _, err := ReadFrame(bytes.NewReader(huge), nil, math.MaxInt); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a huge frame: %v", err)
	}
	if _, err := ReadFrame(bytes.NewReader(bytes.Repeat([]byte{0xff}, 11)), nil, 10); !errors.Is(err, ErrMalformed) {
		t.Errorf("an unending length: %v", err)
	}
}

// TestClaimsCostNothing checks that a length allocates nothing until its bytes
// are there.
func TestClaimsCostNothing(t *testing.T) {
	claim := append(binary.AppendUvarint(nil, 1<<30), "but few bytes"...)
	least := uint64(math.MaxUint64) // what was allocated before is counted late now and then
	for range 3 {
		least = min(least, allocated(func() { _, _ = ReadFrame(bytes.NewReader(claim), nil, 1<<30) }))
	}
	if least > 1<<20 {
		t.Errorf("%d bytes were allocated for a claim", least)
	}
}

// TestChain pins the chain hash: other implementations must compute the same.
func TestChain(t *testing.T) {
	var chain uint64
	for i, c := range []struct{ nonce, want uint64 }{
		{0, 0xe220a8397b1dcdaf}, // SplitMix64's first output for the seed 0
		{1, 0x08b4fda8c892b50e},
		{math.MaxUint64, 0x96779fb4b69b576a},
		{0x0123456789abcdef, 0x5190c2f5d080e27c},
	} {
		if chain = ChainNext(chain, c.nonce); chain != c.want {
			t.Fatalf("after %d nonces: %016x, want %016x", i+1, chain, c.want)
		}
	}
	if ChainNext(ChainNext(0, 1), 2) == ChainNext(ChainNext(0, 2), 1) {
		t.Error("the order of nonces doesn't matter")
	}
}

// TestSizes pins how few bytes the common messages take.
func TestSizes(t *testing.T) {
	for name, c := range map[string]struct{ got, most int }{
		"poll":      {len((&Request{Mode: ModePull, Base: testRevision, First: 100, WaitMS: 50_000}).Append(nil)), 64},
		"a change":  {len((&Request{First: 1, Changes: []Change{{Body: noise(110)}}}).Append(nil)), 192},
		"no news":   {len((&Response{Head: testRevision, Last: 100}).Append(nil)), 48},
		"own again": {len((&Response{Head: testRevision, Last: 100, Commits: []Commit{{OwnFirst: 100, OwnLast: 100, Same: true}}}).Append(nil)), 52},
	} {
		if c.got > c.most {
			t.Errorf("%s takes %d bytes, it was at most %d", name, c.got, c.most)
		}
	}
}

// TestExample pins the example of docs/protocol.md.
func TestExample(t *testing.T) {
	change := []byte{1, 13, 1, 1, 't', 2, 2, 'i', 'd', 2, 1, 'a', 1, 'b', 0, 1, 9, 0, 6, 0x41, 'x', 0, 0}
	request := &Request{
		Replica: ReplicaID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, Mode: ModePull, First: 1,
		Base:    Revision{Seq: 300, Hash: [8]byte{0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0, 0x11}},
		Changes: []Change{{Nonce: 0x0123456789abcdef, Effects: 0xfedcba9876543210, Body: change}},
	}
	answer := &Response{
		Head: Revision{Seq: 301, Hash: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}, Last: 1, LastChain: ChainNext(0, 0x0123456789abcdef),
		Commits: []Commit{{OwnFirst: 1, OwnLast: 1, Same: true}},
	}
	text, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, msg := range map[string][]byte{"request": request.Append(nil), "answer": AppendFrame(nil, answer.Append(nil))} {
		if !strings.Contains(hexOf(string(text)), hex.EncodeToString(msg)) {
			t.Errorf("docs/protocol.md doesn't have this %s: % x", name, msg)
		}
	}
}

// hexOf joins the bytes that a text shows in hexadecimal at the beginning of
// indented lines.
func hexOf(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "    ")
		for ok && rest != "" {
			word := strings.TrimLeft(rest, " ")
			if len(rest)-len(word) > 6 || len(word) < 3 || word[2] != ' ' && word[2] != '\n' {
				break // the remark
			}
			if _, err := hex.DecodeString(word[:2]); err != nil {
				break
			}
			b.WriteString(word[:2])
			rest = word[2:]
		}
	}
	return b.String()
}
