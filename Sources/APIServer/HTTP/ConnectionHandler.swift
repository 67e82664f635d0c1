import EngineAPI
import NIOCore
import NIOHTTP1
import OCI

/// One client connection: reads a request, runs its route in a task, writes the answer, and begins again, or hands the
/// connection over to a `Splice`.
///
/// The socket is only read when something wants the bytes, so that neither a client that sends faster than the engine
/// takes nor one that never reads makes the daemon grow.
final class ConnectionHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// Bytes of a JSON body; the largest sensible ones are a few hundred kilobytes.
    static let maximumDocument = 16 << 20
    /// How long what a client still sends is thrown away after an answer that did not wait for it.
    static let lingering = TimeAmount.seconds(5)

    private enum Phase {
        case idle
        case collecting(Router.Route, Request)
        case responding
        /// The answer was sent before the request was complete; the rest is thrown away, then the connection ends.
        case draining
        case upgraded
        case closed
    }

    private let router: Router
    private let decoderAndEncoder: (any RemovableChannelHandler, any RemovableChannelHandler)
    private var context: ChannelHandlerContext?
    private var phase = Phase.idle
    private var deadline: Scheduled<Void>?

    // The request being answered.
    private var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
    private var task: Task<Void, Never>?
    private var requestEnded = true
    /// Bytes of its document, of what all connections together may hold.
    private var held = 0
    /// Parts of a streamed body that nobody asked for yet.
    private var bodyParts = CircularBuffer<ByteBuffer>()
    private var bodyReader: CheckedContinuation<ByteBuffer?, any Error>?
    /// Requests that a client sent ahead.
    private var pipelined = CircularBuffer<HTTPServerRequestPart>()

    // Its answer.
    private var streamHeaders: HTTPHeaders?
    private var headSent = false
    private var writer: CheckedContinuation<Void, any Error>?
    /// Ends the connection of a reader that does not read.
    private var stall: Scheduled<Void>?

    init(router: Router, decoder: some RemovableChannelHandler, encoder: some RemovableChannelHandler) {
        self.router = router
        decoderAndEncoder = (decoder, encoder)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin() }
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        begin()
    }

    private func begin() {
        setDeadline()
        context?.read()
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { receive(unwrapInboundIn(data)) }

    func channelReadComplete(context: ChannelHandlerContext) { readMore() }

    private func receive(_ part: HTTPServerRequestPart) {
        switch (phase, part) {
        case (.idle, .head(let head)):
            receive(head)
        case (.collecting(let route, var request), .body(var buffer)):
            setDeadline()
            if request.bytes.readableBytes + buffer.readableBytes > Self.maximumDocument {
                phase = .responding
                send(
                    Failure(
                        .payloadTooLarge, "the request body is larger than \(Self.maximumDocument >> 20) MiB"
                    ).reply)
            } else if !router.documents.take(buffer.readableBytes) {
                phase = .responding
                send(Failure(.serviceUnavailable, "too many requests are being sent at once: try again").reply)
            } else {
                held += buffer.readableBytes
                request.bytes.writeBuffer(&buffer)
                phase = .collecting(route, request)
            }
        case (.collecting(let route, let request), .end):
            requestEnded = true
            respond(route, request)
        case (.responding, .body(let buffer)) where !requestEnded:
            if let reader = bodyReader {
                bodyReader = nil
                reader.resume(returning: buffer)
            } else {
                bodyParts.append(buffer)
            }
        case (.responding, .end) where !requestEnded:
            requestEnded = true
            bodyReader?.resume(returning: nil)
            bodyReader = nil
        case (.responding, _):
            pipelined.append(part)
        case (.idle, _), (.draining, _), (.upgraded, _), (.closed, _), (.collecting, .head):
            break
        }
    }

    private func receive(_ head: HTTPRequestHead) {
        self.head = head
        requestEnded = false
        headSent = false
        streamHeaders = nil
        do {
            let (route, request) = try router.resolve(head)
            if head.headers.first(name: "Expect")?.lowercased() == "100-continue" {
                context?.writeAndFlush(
                    wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: .continue))), promise: nil)
            }
            switch route.body {
            case .collected: phase = .collecting(route, request)
            case .streamed: respond(route, request)
            }
        } catch {
            phase = .responding
            // A body that came along is read first, so that the connection can go on.
            requestEnded = !head.hasBody
            send(error.reply)
        }
    }

    private func readMore() {
        switch phase {
        case .idle, .collecting, .draining: context?.read()
        case .responding: if bodyReader != nil || (!requestEnded && bodyParts.isEmpty) { context?.read() }
        case .upgraded, .closed: break
        }
    }

    /// Gives the next part of a streamed body.
    func readBody(_ continuation: CheckedContinuation<ByteBuffer?, any Error>) {
        if let part = bodyParts.popFirst() {
            continuation.resume(returning: part)
        } else if requestEnded {
            continuation.resume(returning: nil)
        } else if case .responding = phase {
            bodyReader = continuation
            context?.read()
        } else {
            continuation.resume(throwing: ChannelError.ioOnClosedChannel)
        }
    }

    // MARK: Answering

    private func respond(_ route: Router.Route, _ request: Request) {
        guard let context else { return }
        phase = .responding
        cancelDeadline()
        let eventLoop = context.eventLoop
        let connection = NIOLoopBound(self, eventLoop: eventLoop)
        var request = request
        if route.body == .streamed { request.body = RequestBody(connection: connection, eventLoop: eventLoop) }
        task = Task { [request] in
            let reply: Reply
            do {
                reply = try await route.handler(request)
            } catch {
                reply = Failure(error).reply
            }
            guard case .stream(let headers, let body) = reply else {
                eventLoop.execute { connection.value.send(reply) }
                return
            }
            let stream = ResponseStream(connection: connection, eventLoop: eventLoop)
            eventLoop.execute { connection.value.streamHeaders = headers }
            do {
                try await body(stream)
                eventLoop.execute { connection.value.endStream() }
            } catch {
                eventLoop.execute { connection.value.endStream(error) }
            }
        }
    }

    private func send(_ reply: Reply) {
        guard case .responding = phase, let context else { return }
        switch reply {
        case .document(let status, var headers, let bytes):
            let bodiless = [.noContent, .notModified].contains(status)
            if !bodiless { headers.replaceOrAdd(name: "Content-Length", value: String(bytes.count)) }
            write(status, headers)
            if !bytes.isEmpty && !bodiless && head.method != .HEAD {
                context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
            }
            endResponse()
        case .upgrade(let upgrade):
            guard upgrade.webSocket != nil else { return self.upgrade(upgrade, [:]) }
            let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
            WebSocketFormat.handshake(for: head, on: context.channel).whenComplete { result in
                switch result {
                case .success(let headers): connection.value.upgrade(upgrade, headers)
                case .failure: connection.value.send(Failure.badRequest("the WebSocket handshake is malformed").reply)
                }
            }
        case .stream:
            preconditionFailure("streams are run by their task")
        }
    }

    private func write(_ status: HTTPResponseStatus, _ headers: HTTPHeaders) {
        var headers = headers
        headers.add(name: "Api-Version", value: "\(APIVersion.newest)")
        headers.add(name: "Docker-Experimental", value: "false")
        headers.add(name: "Ostype", value: "linux")
        headers.add(name: "Server", value: "mycontainer/\(ProductVersion.current) (linux)")
        if !head.isKeepAlive || !requestEnded { headers.add(name: "Connection", value: "close") }
        headSent = true
        context?.write(
            wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: status, headers: headers))),
            promise: nil)
    }

    /// Writes a part of a streamed answer; the continuation goes on when there is room for the next.
    func write(_ buffer: ByteBuffer, _ continuation: CheckedContinuation<Void, any Error>) {
        guard case .responding = phase, let context else {
            return continuation.resume(throwing: ChannelError.ioOnClosedChannel)
        }
        if !headSent { write(.ok, streamHeaders ?? [:]) }
        if buffer.readableBytes > 0 && head.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        }
        context.flush()
        if context.channel.isWritable {
            continuation.resume()
        } else {
            writer = continuation
            let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
            stall = context.eventLoop.scheduleTask(in: router.stalledReaderLimit) { connection.value.cutOff() }
        }
    }

    private func endStream(_ error: (any Error)? = nil) {
        guard case .responding = phase, let context else { return }
        if let error, !headSent { return send(Failure(error).reply) }
        // Without the last chunk the client knows that something is missing.
        if error != nil { return context.close(promise: nil) }
        if !headSent { write(.ok, streamHeaders ?? [:]) }
        endResponse()
    }

    private func releaseDocument() {
        router.documents.give(back: held)
        held = 0
    }

    private func endResponse() {
        guard let context else { return }
        task = nil
        releaseDocument()
        let reusable = head.isKeepAlive && requestEnded
        let written = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
        if reusable {
            phase = .idle
            setDeadline()
            while case .idle = phase, let part = pipelined.popFirst() { receive(part) }
            while case .collecting = phase, let part = pipelined.popFirst() { receive(part) }
            readMore()
        } else {
            phase = requestEnded ? .closed : .draining
            let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
            written.futureResult.whenComplete { _ in connection.value.finish() }
        }
    }

    /// Ends the connection. A socket that is closed while the client still sends would take the answer with it, so
    /// only our half is closed at first.
    private func finish() {
        guard let context else { return }
        bodyParts.removeAll()
        guard case .draining = phase else { return context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
        let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
        deadline?.cancel()
        deadline = context.eventLoop.scheduleTask(in: Self.lingering) { connection.value.context?.close(promise: nil) }
        context.read()
    }

    // MARK: Life and death

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { resumeWriter() }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event as? ChannelEvent == .inputClosed else { return context.fireUserInboundEventTriggered(event) }
        switch phase {
        case .idle, .collecting, .draining, .closed: context.close(promise: nil)
        // A client may close its half and wait for the answer; one that goes away altogether ends the channel.
        case .responding: failBody()
        case .upgraded: context.fireUserInboundEventTriggered(event)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if case .upgraded = phase { return context.fireChannelInactive() }
        phase = .closed
        cancelDeadline()
        releaseDocument()
        task?.cancel()
        task = nil
        failBody()
        resumeWriter(throwing: ChannelError.ioOnClosedChannel)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let reading =
            switch phase {
            case .idle, .collecting: true
            case .responding, .draining, .upgraded, .closed: false
            }
        guard reading, error is HTTPParserError else { return context.close(promise: nil) }
        head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
        requestEnded = false
        phase = .responding
        send(Failure.badRequest("the request is not HTTP: \(error)").reply)
    }

    private func failBody() {
        bodyReader?.resume(throwing: ChannelError.inputClosed)
        bodyReader = nil
    }

    private func cutOff() {
        guard writer != nil else { return }
        let seconds = router.stalledReaderLimit.nanoseconds / 1_000_000_000
        router.log("a client of \(head.uri) was cut off: it read nothing for \(seconds) s")
        context?.close(promise: nil)
    }

    private func resumeWriter(throwing error: (any Error)? = nil) {
        stall?.cancel()
        stall = nil
        guard let writer else { return }
        self.writer = nil
        if let error { writer.resume(throwing: error) } else { writer.resume() }
    }

    private func setDeadline() {
        guard let context else { return }
        deadline?.cancel()
        let connection = NIOLoopBound(self, eventLoop: context.eventLoop)
        deadline = context.eventLoop.scheduleTask(in: router.patience) { connection.value.context?.close(promise: nil) }
    }

    private func cancelDeadline() {
        deadline?.cancel()
        deadline = nil
    }

    // MARK: Upgrading

    /// Turns the connection into a raw one. The HTTP handlers go from the outside in, so that bytes which the client
    /// sent early reach the new handler.
    private func upgrade(_ upgrade: Upgrade, _ handshake: HTTPHeaders) {
        guard let context else { return }
        phase = .upgraded
        cancelDeadline()
        releaseDocument()
        task = nil
        var text: String
        if upgrade.webSocket != nil {
            text = "HTTP/1.1 101 Switching Protocols\r\n"
            for (name, value) in handshake { text += "\(name): \(value)\r\n" }
        } else {
            let status = head.headers.contains(name: "Upgrade") ? "101 UPGRADED" : "200 OK"
            text = "HTTP/1.1 \(status)\r\nContent-Type: \(upgrade.contentType)\r\n"
            if status.hasPrefix("101") { text += "Connection: Upgrade\r\nUpgrade: tcp\r\n" }
        }
        text += "Api-Version: \(APIVersion.newest)\r\nDocker-Experimental: false\r\nOstype: linux\r\n"
        text += "Server: mycontainer/\(ProductVersion.current) (linux)\r\n\r\n"
        let pipeline = context.pipeline.syncOperations
        do {
            let attachment = upgrade.attachment
            let client = SpliceHandler(side: .client(upgrade.detachKeys, detached: { attachment?.detached() }))
            try pipeline.addHandler(client)
            pipeline.removeHandler(decoderAndEncoder.1, promise: nil)
            client.write(ByteBuffer(string: text))
            try upgrade.webSocket?.install(before: client, in: pipeline)
            Splice.start(client: client, upgrade, eventLoop: context.eventLoop)
            pipeline.removeHandler(self, promise: nil)
            pipeline.removeHandler(decoderAndEncoder.0, promise: nil)
        } catch {
            context.close(promise: nil)
        }
    }
}

extension HTTPRequestHead {
    /// Whether a body follows.
    var hasBody: Bool {
        headers.contains(name: "Transfer-Encoding")
            || (headers.first(name: "Content-Length").flatMap { Int($0) } ?? 0) > 0
    }
}
