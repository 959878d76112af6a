package azure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
	"golang.org/x/sync/errgroup"
)

const (
	pageSize = 4 << 20 // the most that one request takes
	uploads  = 8       // requests on their way at once: 32 MiB of memory
)

var zeroPages [pageSize]byte

// upload writes what is not zero into the disk behind a URL. Whoever has the URL may write, so that no error shows it.
func upload(ctx context.Context, disk *os.File, size int64, target string, options *pageblob.ClientOptions) error {
	client, err := pageblob.NewClientWithNoCredential(target, options)
	if err != nil {
		return errors.New("the URL to upload to, which Azure gave, is none")
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	for at := int64(0); at < size && groupCtx.Err() == nil; at += pageSize {
		part := make([]byte, min(pageSize, size-at))
		if _, err := disk.ReadAt(part, at); err != nil {
			return errors.Join(err, group.Wait())
		}
		if bytes.Equal(part, zeroPages[:len(part)]) {
			continue
		}
		group.Go(func() error {
			_, err := client.UploadPages(groupCtx, streaming.NopCloser(bytes.NewReader(part)), blob.HTTPRange{Offset: at, Count: int64(len(part))},
				&pageblob.UploadPagesOptions{TransactionalValidation: blob.TransferValidationTypeComputeCRC64()})
			return err
		})
	}
	return hidden(errors.Join(group.Wait(), ctx.Err()), target)
}

// hidden is an error without the query of a URL: it is the permission.
func hidden(err error, target string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if u, parse := url.Parse(target); parse == nil && u.RawQuery != "" {
		text = strings.ReplaceAll(text, u.RawQuery, "[redacted]")
		for _, secret := range u.Query()["sig"] {
			text = strings.ReplaceAll(strings.ReplaceAll(text, url.QueryEscape(secret), "[redacted]"), secret, "[redacted]")
		}
	}
	return errors.New(text)
}

// vhdFooter is the last sector of a fixed VHD.
const vhdFooter = 512

// openVHD opens a fixed VHD and gives its size: a whole number of MiB, and the footer.
func openVHD(path string) (*os.File, int64, error) {
	disk, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	st, err := disk.Stat()
	if err == nil {
		footer := make([]byte, len("conectix"))
		if _, e := disk.ReadAt(footer, max(0, st.Size()-vhdFooter)); e != nil && !errors.Is(e, io.EOF) {
			err = e
		} else if string(footer) != "conectix" || (st.Size()-vhdFooter)%(1<<20) != 0 {
			err = fmt.Errorf("%s is no fixed VHD with a whole number of MiB", path)
		}
	}
	if err != nil {
		return nil, 0, errors.Join(err, disk.Close())
	}
	return disk, st.Size(), nil
}
