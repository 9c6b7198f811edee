// Package platform is a client of the Platform API: it makes, forks, restores
// and deletes databases, and gives out tokens for them, on a server of agentdb
// or in Turso's cloud, which speak the same REST.
//
//	api := platform.NewClient(platform.Config{Token: token, BaseURL: "http://127.0.0.1:8080/v1/"})
//	d, err := api.Databases.Create(ctx, "agent-1", platform.CreateOptions{Group: "default"})
//	jwt, err := api.Databases.CreateToken(ctx, d.Name, platform.TokenOptions{Expiration: time.Hour})
//	db, err := agentdb.Open(ctx, "agent-1.db", &agentdb.Options{URL: d.URL, AuthToken: jwt})
//
// An API token comes from 'agentdb token api NAME', or from Turso. What only a
// server of agentdb knows is marked "agentdb only"; Turso ignores such options,
// or answers ErrNotFound.
//
// Failures of the server are *Error, and match ErrNotFound, ErrExists,
// ErrUnauthorized or ErrForbidden. Reads are repeated when the server asks to
// come back later; nothing that changes anything is ever sent twice.
package platform
