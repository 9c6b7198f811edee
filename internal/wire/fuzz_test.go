package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"runtime/metrics"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// allocated returns how many bytes fn allocates, and what else allocates
// meanwhile.
func allocated(fn func()) uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	before := s[0].Value.Uint64()
	fn()
	metrics.Read(s)
	return s[0].Value.Uint64() - before
}

const (
	// fuzzLimit is the limit given to decoders.
	fuzzLimit = 1 << 16
	// growth is how many bytes a decoded message may take for each of its
	// body's.
	growth = 17
	// slack is for what the decompressor keeps, and the runtime does.
	slack = 4 << 20
)

// checkDecoder decodes a message: as it is, as a body in a good envelope, and
// as a compressed body in one. again encodes what was decoded.
func checkDecoder[T any](t *testing.T, k kind, data []byte, decode func([]byte) (T, error), again func(T) []byte) {
	for _, msg := range [][]byte{
		data,
		forge(k, Version, 0, uint64(len(data)), data),
		forge(k, Version, flagZstd, uint64(len(data)), encoder().EncodeAll(data, nil)),
		forge(k, Version, flagZstd, claim(data), data),
	} {
		var m T
		var err error
		if n := allocated(func() { m, err = decode(msg) }); n > growth*fuzzLimit+slack {
			t.Fatalf("decoding %d bytes allocated %d", len(msg), n)
		}
		if err != nil {
			continue
		}
		m2, err := decode(again(m))
		if err != nil {
			t.Fatalf("decode what was encoded of %v: %v", m, err)
		}
		if d := cmp.Diff(m, m2, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	}
}

// claim is a size for an envelope, taken from the data.
func claim(data []byte) uint64 {
	if len(data) < 2 {
		return fuzzLimit
	}
	return uint64(binary.LittleEndian.Uint16(data[len(data)-2:]))
}

// seeds adds the bodies of the messages of a kind.
func seeds(f *testing.F, k kind) {
	for _, m := range messages() {
		if m.bytes[1] != byte(k) {
			continue
		}
		body, err := open(m.bytes, k, testLimit)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.bytes)
		f.Add(body)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	seeds(f, kindRequest)
	f.Fuzz(func(t *testing.T, data []byte) {
		checkDecoder(t, kindRequest, data,
			func(b []byte) (*Request, error) { return DecodeRequest(b, fuzzLimit) },
			func(m *Request) []byte { return m.Append(nil) })
	})
}

func FuzzDecodeResponse(f *testing.F) {
	seeds(f, kindResponse)
	f.Fuzz(func(t *testing.T, data []byte) {
		checkDecoder(t, kindResponse, data,
			func(b []byte) (*Response, error) { return DecodeResponse(b, fuzzLimit) },
			func(m *Response) []byte { return m.Append(nil) })
	})
}

// FuzzDecodePages fills what it is given up with zeros, since pages are long
// and long inputs are slow to vary.
func FuzzDecodePages(f *testing.F) {
	f.Add([]byte{3}, uint16(PageSize))
	f.Add([]byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 7}, uint16(2*PageSize-1))
	f.Add([]byte{0}, uint16(PageSize))
	f.Add([]byte{1}, uint16(100))
	f.Add(AppendPages(nil, 3, prose(2*PageSize)), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, fill uint16) {
		data = append(bytes.Clone(data), make([]byte, fill)...)
		checkDecoder(t, kindPages, data,
			func(b []byte) (chunk, error) {
				first, pages, err := DecodePages(nil, b)
				return chunk{first, pages}, err
			},
			func(c chunk) []byte { return AppendPages(nil, c.First, c.Data) })
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add(AppendFrame(AppendFrame(nil, []byte("one")), noise(200)), uint16(1000))
	f.Add(binary.AppendUvarint(nil, 1<<40), uint16(10))
	f.Add([]byte{0}, uint16(0))
	f.Add(bytes.Repeat([]byte{0x80}, 12), uint16(9))
	f.Fuzz(func(t *testing.T, data []byte, limit uint16) {
		in := bytes.NewReader(data)
		r := bufio.NewReaderSize(in, 16)
		var buf, joined []byte
		for {
			var err error
			n := allocated(func() { buf, err = ReadFrame(r, buf, int(limit)) })
			if n > 4*uint64(len(data))+1<<20 {
				t.Fatalf("reading a frame of %d bytes allocated %d", len(data), n)
			}
			if err != nil {
				break
			}
			if len(buf) > int(limit) {
				t.Fatalf("a frame of %d bytes, the limit is %d", len(buf), limit)
			}
			joined = AppendFrame(joined, buf)
		}
		// Frames that were read and are written again are what was there, but
		// for lengths that were longer than needed.
		if len(joined) > len(data) {
			t.Fatalf("%d bytes of frames in %d bytes", len(joined), len(data))
		}
	})
}
