package configure

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"text/template/parse"
)

// errNotPipeline is about a template that has more than functions joined by "|".
var errNotPipeline = errors.New("only functions joined by | are understood, as in {{ GetAllInterfaces | include \"name\" \"eth0\" | attr \"address\" }}")

// expand writes a template in which each {{ … }} is a pipeline of functions. It parses with
// text/template's own parser, and does not execute with text/template: that calls methods by name, so the
// linker would keep every method of every type, a fifth of the agent's binary.
func expand(text string, dot any, functions map[string]any) (string, error) {
	trees, err := parse.Parse("address", text, "", "", functions)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	tree := trees["address"]
	if tree == nil || tree.Root == nil {
		return "", nil // an empty text
	}
	p := pipeline{dot, functions}
	for _, node := range tree.Root.Nodes {
		switch node := node.(type) {
		case *parse.TextNode:
			out.Write(node.Text)
		case *parse.ActionNode:
			v, err := p.evaluate(node.Pipe)
			if err != nil {
				return "", fmt.Errorf("%s: %w", node, err)
			}
			fmt.Fprint(&out, v)
		case *parse.CommentNode:
		default:
			return "", fmt.Errorf("%s: %w", node, errNotPipeline)
		}
	}
	return out.String(), nil
}

type pipeline struct {
	dot       any
	functions map[string]any
}

// evaluate gives each command's result to the next as its last argument.
func (p pipeline) evaluate(pipe *parse.PipeNode) (any, error) {
	if len(pipe.Decl) > 0 {
		return nil, errNotPipeline
	}
	var result []any
	for _, command := range pipe.Cmds {
		v, err := p.command(command, result)
		if err != nil {
			return nil, err
		}
		result = []any{v}
	}
	if len(result) == 0 {
		return nil, errNotPipeline
	}
	return result[0], nil
}

func (p pipeline) command(c *parse.CommandNode, piped []any) (any, error) {
	name, isFunction := c.Args[0].(*parse.IdentifierNode)
	if !isFunction {
		if len(c.Args) > 1 || len(piped) > 0 {
			return nil, errNotPipeline
		}
		return p.argument(c.Args[0])
	}
	var arguments []any
	for _, node := range c.Args[1:] {
		v, err := p.argument(node)
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, v)
	}
	return call(name.Ident, p.functions[name.Ident], append(arguments, piped...))
}

func (p pipeline) argument(node parse.Node) (any, error) {
	switch node := node.(type) {
	case *parse.DotNode:
		return p.dot, nil
	case *parse.StringNode:
		return node.Text, nil
	case *parse.NumberNode:
		if node.IsInt {
			return int(node.Int64), nil
		}
	case *parse.PipeNode:
		return p.evaluate(node)
	case *parse.IdentifierNode:
		return call(node.Ident, p.functions[node.Ident], nil)
	}
	return nil, errNotPipeline
}

// call calls a function that gives a value, or a value and an error.
func call(name string, function any, arguments []any) (any, error) {
	f := reflect.ValueOf(function)
	if want := f.Type().NumIn(); len(arguments) != want {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", name, want, len(arguments))
	}
	in := make([]reflect.Value, len(arguments))
	for i, argument := range arguments {
		v, want := reflect.ValueOf(argument), f.Type().In(i)
		if n, isInt := argument.(int); isInt && want.Kind() == reflect.Uint && n >= 0 {
			v = reflect.ValueOf(uint(n))
		}
		if !v.IsValid() || !v.Type().AssignableTo(want) {
			return nil, fmt.Errorf("argument %d of %s is a %T, not a %s", i+1, name, argument, want)
		}
		in[i] = v
	}
	out := f.Call(in)
	if len(out) == 2 {
		if err, failed := out[1].Interface().(error); failed {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return out[0].Interface(), nil
}
