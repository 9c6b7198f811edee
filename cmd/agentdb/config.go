package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// configFile is a flag: the path of a JSON object whose keys are the long names
// of flags. A flag on the command line goes before its environment variable,
// and that before the file.
type configFile string

// BeforeResolve reads the file.
func (configFile) BeforeResolve(_ *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	path := string(ctx.FlagValue(trace.Flag).(configFile))
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var values map[string]any
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	if err := dec.Decode(&values); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if unknown := unknownKey(values, ctx); unknown != "" {
		return fmt.Errorf("%s: there is no setting %q", path, unknown)
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		v, ok := values[flag.Name]
		if !ok || inEnvironment(flag) {
			return nil, nil
		}
		return fmt.Sprint(v), nil
	}))
	return nil
}

// inEnvironment reports whether a variable of a flag is set.
func inEnvironment(flag *kong.Flag) bool {
	return slices.ContainsFunc(flag.Envs, func(env string) bool {
		_, ok := os.LookupEnv(env)
		return ok
	})
}

// unknownKey returns a key that is no flag's name.
func unknownKey(values map[string]any, ctx *kong.Context) string {
	names := map[string]bool{}
	for _, f := range ctx.Flags() {
		names[f.Name] = true
	}
	for k := range values {
		if !names[k] || k == "config" || k == "help" {
			return k
		}
	}
	return ""
}
