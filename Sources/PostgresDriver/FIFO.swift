/// A queue whose first element is taken in constant time.
struct FIFO<Element> {
    private var elements: [Element?] = []
    private var head = 0

    var count: Int { elements.count - head }
    var isEmpty: Bool { count == 0 }
    var first: Element? { isEmpty ? nil : elements[head] }

    mutating func append(_ element: Element) { elements.append(element) }

    /// The queue must not be empty.
    mutating func removeFirst() -> Element {
        guard head < elements.count, let element = elements[head] else { preconditionFailure("an empty queue") }
        elements[head] = nil
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: head <= 1_024)
            head = 0
        } else if head >= 256, head * 2 >= elements.count {
            elements.removeFirst(head)
            head = 0
        }
        return element
    }

    /// Changes the first element in place; does nothing when there is none.
    mutating func updateFirst(_ body: (inout Element) -> Void) {
        guard head < elements.count, var element = elements[head] else { return }
        elements[head] = nil
        body(&element)
        elements[head] = element
    }

    mutating func removeAll() -> [Element] {
        defer {
            elements = []
            head = 0
        }
        return elements[head...].compactMap { $0 }
    }
}
