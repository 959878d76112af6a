package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azure "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/storage/v1"
)

// onlyNew is a store with conditional writes.
type onlyNew interface {
	Sink
	PutNew(ctx context.Context, name string, content []byte) error
}

// Of many who write at once one is the first, and what it wrote stays.
func TestPutNew(t *testing.T) {
	for name, store := range map[string]onlyNew{"s3": newBucket(t).sink(), "gcs": newGoogle(t).sink(), "azblob": newBlobs(t).sink()} {
		t.Run(name, func(t *testing.T) {
			const writers = 8
			var first atomic.Int64
			done := make(chan error)
			for i := range writers {
				go func() {
					err := store.PutNew(t.Context(), "initialised-by", fmt.Append(nil, "node-", i))
					if err == nil {
						first.Add(int64(i) + 1)
					}
					done <- err
				}()
			}
			won := 0
			for range writers {
				switch err := <-done; {
				case err == nil:
					won++
				case !errors.Is(err, ErrThere):
					t.Error(err)
				}
			}
			if won != 1 {
				t.Fatalf("%d were the first", won)
			}
			in, err := store.Open(t.Context(), "initialised-by")
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if b, err := io.ReadAll(in); err != nil || string(b) != fmt.Sprint("node-", first.Load()-1) {
				t.Errorf("%q, %v; the first was %d", b, err, first.Load()-1)
			}
		})
	}
}

// A refusal for another reason is none of "it is there".
func TestPutNewRefused(t *testing.T) {
	b := newBucket(t)
	b.before = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
		return false
	}
	if err := b.sink().PutNew(t.Context(), "x", nil); err == nil || errors.Is(err, ErrThere) {
		t.Errorf("got %v", err)
	}
}

// The stores of the tests take the condition from the clouds' own libraries too, and refuse in the words that those know.
func TestPutNewAsTheLibraries(t *testing.T) {
	g := newGoogle(t)
	insert := func() error {
		_, err := g.theirs(t).Objects.Insert("backup", &storage.Object{Name: "vault/prod/x"}).Name("vault/prod/x").IfGenerationMatch(0).Media(strings.NewReader(strings.Repeat("second", 100<<10)), googleapi.ChunkSize(256<<10)).Do()
		return err
	}
	if err := g.sink().PutNew(t.Context(), "x", []byte("first")); err != nil {
		t.Fatal(err)
	}
	var refusal *googleapi.Error
	if err := insert(); !errors.As(err, &refusal) || refusal.Code != http.StatusPreconditionFailed {
		t.Errorf("Google's library: %v", err)
	}
	b := newBlobs(t)
	if err := b.sink().PutNew(t.Context(), "x", []byte("first")); err != nil {
		t.Fatal(err)
	}
	anyTag := azcore.ETagAny
	_, err := b.theirs(t).UploadBuffer(t.Context(), "backup", "vault/prod/x", []byte("second"), &blockblob.UploadBufferOptions{
		AccessConditions: &azure.AccessConditions{ModifiedAccessConditions: &azure.ModifiedAccessConditions{IfNoneMatch: &anyTag}}})
	var denied *azcore.ResponseError
	if !errors.As(err, &denied) || denied.ErrorCode != "BlobAlreadyExists" {
		t.Errorf("Azure's library: %v", err)
	}
}
