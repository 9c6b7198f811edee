package tenant

import (
	"bytes"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agentdb/agentdb/internal/wire"
)

func batches() []*batch {
	return []*batch{
		{},
		{first: 1, before: math.MaxUint64, nonces: []uint64{0, math.MaxUint64}},
		{first: math.MaxUint64, nonces: []uint64{7}, results: []wire.Result{
			{ID: 7, Ops: []wire.OpResult{{Index: 2, Code: wire.OpNewID, NewID: -1}, {Index: 3, Code: wire.OpRejected}}}, {ID: 8},
		}},
	}
}

var (
	replicaStates = []*replicaState{{}, {last: 3, chain: 9, batches: 300}, {last: math.MaxUint64, chain: math.MaxUint64}}
	metas         = []commitMeta{{first: 0}, {first: 1, last: 1, same: true}, {first: 5, last: math.MaxUint64}, {last: 2, strict: 300}}
)

var equal = cmp.Options{cmp.AllowUnexported(batch{}, replicaState{}, commitMeta{}), cmpopts.EquateEmpty()}

func TestCodecs(t *testing.T) {
	for _, b := range batches() {
		got, err := decodeBatch(b.encode())
		if d := cmp.Diff(b, got, equal); d != "" || err != nil {
			t.Errorf("%v: %s", err, d)
		}
		truncated(t, b.encode(), func(v []byte) error { _, err := decodeBatch(v); return err })
	}
	for _, s := range replicaStates {
		got, err := decodeReplica(s.encode())
		if d := cmp.Diff(s, got, equal); d != "" || err != nil {
			t.Errorf("%v: %s", err, d)
		}
		truncated(t, s.encode(), func(v []byte) error { _, err := decodeReplica(v); return err })
	}
	for _, m := range metas {
		got, err := decodeMeta(m.append(nil))
		if d := cmp.Diff(m, got, equal); d != "" || err != nil {
			t.Errorf("%v: %s", err, d)
		}
		truncated(t, m.append(nil), func(v []byte) error {
			if len(v) == 0 {
				return wire.ErrMalformed // a commit without meta is fine
			}
			_, err := decodeMeta(v)
			return err
		})
	}
}

// truncated cuts a value at every length, and adds a byte.
func truncated(t *testing.T, v []byte, decode func([]byte) error) {
	t.Helper()
	for n := range v {
		if decode(v[:n:n]) == nil {
			t.Errorf("% x cut to %d bytes still decodes", v, n)
		}
	}
	if decode(append(bytes.Clone(v), 0)) == nil {
		t.Errorf("% x decodes with a byte more", v)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	for _, b := range batches() {
		f.Add(b.encode())
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		b, err := decodeBatch(v)
		if err != nil {
			return
		}
		again, err := decodeBatch(b.encode())
		if d := cmp.Diff(b, again, equal); d != "" || err != nil {
			t.Fatal(err, d)
		}
	})
}

func FuzzDecodeReplica(f *testing.F) {
	for _, s := range replicaStates {
		f.Add(s.encode())
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		s, err := decodeReplica(v)
		if err != nil {
			return
		}
		again, err := decodeReplica(s.encode())
		if d := cmp.Diff(s, again, equal); d != "" || err != nil {
			t.Fatal(err, d)
		}
	})
}

func FuzzDecodeMeta(f *testing.F) {
	for _, m := range metas {
		f.Add(m.append(nil))
	}
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, v []byte) {
		m, err := decodeMeta(v)
		if err != nil {
			return
		}
		again, err := decodeMeta(m.append(nil))
		if d := cmp.Diff(m, again, equal); d != "" || err != nil {
			t.Fatal(err, d)
		}
	})
}
