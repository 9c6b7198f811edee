// Package server is agentdb's multi-tenant server as an [http.Handler].
//
//	srv, err := server.New(server.Config{DataDir: "agentdb-data"})
//	…
//	defer srv.Close(context.Background())
//	err = srv.Serve(ctx, listener) // or mount srv in an http.Server of your own
//
// # Databases
//
// A database answers at http://HOST/db/NAME/ and at http://NAME.HOST/; the bare
// host is the database "default". The path wins over the host: a request for
// /db/a/sync at b.example.com is for "a". See [Config.Domain] for which part of
// a host is a name.
//
// Below its base a database has one endpoint for now:
//
//	POST {base}/sync   one round trip of the sync protocol
//
// and the server as a whole has GET /healthz, /metrics (Prometheus) and
// /version, on every host.
//
// # Access
//
// A request carries "Authorization: Bearer TOKEN". A token is made by
// [CreateToken], names one database or all of them, and allows full, read, push
// or pull. A database is created at its first use by a token that names it and
// may push. With [Config.Dev] no token is asked for, and a database is created
// at anybody's first use.
//
// # Errors
//
// An error is JSON, {"error":{"code":"unauthorized","message":"…"}}, with a
// code of a closed set, see [Code]. The message says what to do about it.
// Nothing else of what went wrong leaves the server; it is in the log, under
// the id in the error's "request".
//
// An answer that can't be finished is never ended properly: the connection is
// cut, so that nobody takes a part for the whole.
package server
