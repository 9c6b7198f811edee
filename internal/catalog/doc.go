// Package catalog knows who may do what on a server. For now that is the
// server's signing key and the access tokens made with it: JSON Web Tokens
// signed with Ed25519, each naming a database, an access and an end.
//
// The key is a file in the data directory. Whoever can read it can make tokens
// for every database; deleting it, and starting the server again, voids all
// tokens there are.
package catalog
