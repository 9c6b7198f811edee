package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/agentdb/agentdb/platform"
)

// completionCmd is "agentdb completion".
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"${enum}."`
}

// completeWord is the command that the shells' scripts call: it takes the words
// of a command line, of which the last is being written.
const completeWord = "__complete"

// Run implements the command.
func (s *completionCmd) Run(c *console) error {
	script := map[string]string{
		"bash": `# agentdb completion bash: source it, or put it into bash_completion.d
_agentdb() {
  local IFS=$'\n'
  COMPREPLY=($(agentdb __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _agentdb agentdb
`,
		"zsh": `#compdef agentdb
# agentdb completion zsh: source it, or put it into $fpath as _agentdb
_agentdb() {
  local -a found
  found=("${(@f)$(agentdb __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n $found ]]; then compadd -a found; else _files; fi
}
compdef _agentdb agentdb
`,
		"fish": `# agentdb completion fish: put it into ~/.config/fish/completions/agentdb.fish
complete -c agentdb -a '(set -l words (commandline -opc) (commandline -ct); agentdb __complete $words[2..-1] 2>/dev/null)'
`,
	}[s.Shell]
	_, err := fmt.Fprint(c.out, script)
	return err
}

// complete writes what the last of words can become, one a line.
func complete(app *kong.Application, words []string, c *console) {
	if len(words) == 0 {
		words = []string{""}
	}
	node, pending, args := app.Node, (*kong.Flag)(nil), 0
	for _, w := range words[:len(words)-1] {
		switch {
		case pending != nil:
			pending = nil
		case strings.HasPrefix(w, "-"):
			if f := flagOf(node, w); f != nil && !f.IsBool() && !strings.Contains(w, "=") {
				pending = f
			}
		default:
			if child := childOf(node, w); child != nil {
				node = child
			} else {
				args++
			}
		}
	}
	last := words[len(words)-1]
	for _, s := range candidates(node, pending, args, last) {
		if strings.HasPrefix(s, last) {
			fmt.Fprintln(c.out, s)
		}
	}
}

// candidates are the words that can follow, whatever the last begins with.
func candidates(node *kong.Node, pending *kong.Flag, args int, last string) (all []string) {
	switch {
	case pending != nil && pending.Enum != "":
		return pending.EnumSlice()
	case pending != nil:
		return namesFor(pending.Name)
	case strings.HasPrefix(last, "-"):
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				all = append(all, "--"+f.Name)
			}
		}
		slices.Sort(all)
		return all
	}
	for _, child := range node.Children {
		if !child.Hidden {
			all = append(all, child.Name)
		}
	}
	if args < len(node.Positional) {
		p := node.Positional[args]
		all = append(all, p.EnumSlice()...)
		if parent := strings.Fields(node.FullPath()); len(parent) > 1 && !strings.HasSuffix(node.Name, "create") || strings.HasSuffix(node.FullPath(), "tokens create") {
			all = append(all, namesFor(parent[1]+" "+p.Name)...)
		}
	}
	return all
}

// namesFor returns the names of databases or groups, where those are asked for.
func namesFor(what string) (names []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	kept, _ := readSettings() // without them there is the environment
	api := platform.NewClient(platform.Config{
		Token: cmp.Or(os.Getenv("AGENTDB_API_TOKEN"), kept["api-token"]), Org: cmp.Or(os.Getenv("AGENTDB_ORG"), kept["org"]),
		BaseURL: cmp.Or(os.Getenv("AGENTDB_API_URL"), kept["api-url"], "http://127.0.0.1:8080"),
	})
	switch what {
	case "db name", "db from", "from-db", "inspect name|url|file":
		for d, err := range api.Databases.List(ctx, platform.ListOptions{PageSize: 200}) {
			if err != nil || len(names) == 200 {
				break
			}
			names = append(names, d.Name)
		}
	case "group name", "group":
		groups, _ := api.Groups.List(ctx) // without them there is nothing to offer
		for _, g := range groups {
			names = append(names, g.Name)
		}
	}
	return names
}

func childOf(node *kong.Node, word string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == word || slices.Contains(child.Aliases, word) {
			return child
		}
	}
	return nil
}

// flagOf returns the flag that a word is, of a command or of those above it.
func flagOf(node *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			if f.Name == name || !strings.HasPrefix(word, "--") && string(f.Short) == name {
				return f
			}
		}
	}
	return nil
}
