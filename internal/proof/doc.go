// Package proof tests agentdb as a whole and from the outside: replicas in the
// public API, a real server behind a proxy that loses, repeats and cuts what it
// carries, processes that are killed. It has no code but tests.
//
//	go test ./internal/proof                                   # seconds
//	go test ./internal/proof -run TestReplicas -proof.seed=7   # one sequence again
//	go test ./internal/proof -proof.rounds=2000 -proof.seed=0  # more, with a new seed
//	go test ./internal/proof -run TestSoak -proof.soak=4h -timeout 0
//
// A failure prints the seed of its sequence. What a test demands is written in
// the package agentdb's documentation, not in its code: nothing here reads the
// implementation of the sync.
package proof
