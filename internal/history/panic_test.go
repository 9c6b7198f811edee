package history

import (
	"testing"
	"time"
)

// TestPanicWhileReading: whoever panics in a loop over what the store yields holds
// nothing of it any more.
func TestPanicWhileReading(t *testing.T) {
	p, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Create(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	head, err := p.Head(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.Append(t.Context(), "a", head, &NewCommit{Time: time.Now(), Pages: []Page{{No: 1, Data: make([]byte, PageSize)}}, DBSize: 1, KV: map[string][]byte{"k": {1}}})
	if err == nil {
		err = w.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	for what, read := range map[string]func(){
		"Pages": func() {
			for range p.Pages(t.Context(), "a", 1) {
				panic("test")
			}
		},
		"Commits": func() {
			for range p.Commits(t.Context(), "a", 0, 1) {
				panic("test")
			}
		},
		"Metas": func() {
			for range p.Metas(t.Context(), "a", "", "") {
				panic("test")
			}
		},
	} {
		func() {
			defer func() {
				if recover() != "test" {
					t.Errorf("%s yields nothing", what)
				}
			}()
			read()
		}()
	}
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the store can't be closed")
	}
}
